package probe

import (
	"testing"
	"time"
)

func one(what string, data string) trace {
	return trace{parts: []part{{what: what, size: len(data), slack: exactSize, data: []byte(data)}}, end: endFIN, answered: true}
}

func TestContent(t *testing.T) {
	a, b, open := one("text", "abcd"), one("text", "abxd"), one("text", "abcd")
	open.end = endOpen
	sized := func(n int) trace {
		return trace{parts: []part{{what: "data", size: n, slack: slackECDSA}}, end: endFIN}
	}
	for _, tt := range []struct {
		name             string
		reference, relay side
		differs          bool
	}{
		{"the same", side{a, a, a}, side{a, a, a}, false},
		{"a byte", side{a, a, a}, side{b, b, b}, true},
		{"a byte that varies in the reference", side{a, b, a}, side{one("text", "abyd"), a, b}, false},
		{"a byte that varies in the relay only", side{a, a, a}, side{a, b, one("text", "abyd")}, true},
		{"a byte that varies in the reference only", side{a, b, one("text", "abyd")}, side{a, a, a}, true},
		{"another end", side{a, a, a}, side{open, open, open}, true},
		{"a race in both", side{a, open, a}, side{open, a, open}, false},
		{"a race in the reference only", side{a, open, a, open}, side{a, a, a, a}, true},
		{"a race that is seldom", side{a, a, a, a, a}, side{a, a, a, a, open}, false},
		{"more", side{a, a, a}, side{one("text", "abcde"), a, one("text", "abcde")}, true},
		{"nothing", side{a, a, a}, side{{end: endFIN}, {end: endFIN}, {end: endFIN}}, true},
		{"a signature's length", side{sized(70), sized(71), sized(70)}, side{sized(72), sized(72), sized(71)}, false},
		{"another certificate's length", side{sized(70), sized(71), sized(70)}, side{sized(80), sized(80), sized(81)}, true},
		{"no rule at all", side{one("text", "1"), one("text", "22"), one("text", "333")}, side{one("text", "4444"), one("text", "55555"), one("text", "22")}, false},
		{"a single run", side{a}, side{b}, true},
	} {
		tr := trial{reference: tt.reference, relay: tt.relay}
		if v, why := tr.judge(); (v == Differs) != tt.differs {
			t.Errorf("%s: got %s (%s), want differs %t", tt.name, v, why, tt.differs)
		}
	}
}

func TestTiming(t *testing.T) {
	at := func(ms ...int) (s side) {
		for _, n := range ms {
			d := time.Duration(n) * time.Millisecond
			s = append(s, trace{answered: true, first: d, last: d, fin: d, end: endFIN})
		}
		return s
	}
	for _, tt := range []struct {
		name             string
		reference, relay side
		differs          bool
	}{
		{"the same", at(1, 2, 1, 2, 1), at(2, 1, 2, 1, 2), false},
		{"40 ms", at(1, 1, 1, 1, 1), at(41, 41, 41, 41, 41), false},
		{"60 ms", at(1, 1, 1, 1, 1), at(61, 61, 61, 61, 61), true},
		{"60 ms early", at(61, 61, 61, 61, 61), at(1, 1, 1, 1, 1), true},
		{"one late run", at(1, 1, 1, 1, 1), at(1, 1, 400, 1, 1), false},
		{"noise on both", at(1, 300, 5, 200, 1), at(100, 2, 400, 1, 3), false},
		{"0.9 s of a minute", at(60000, 60000, 60001, 60000, 60002), at(60900, 60901, 60900, 60902, 60903), false},
		{"2 s of a minute", at(60000, 60000, 60001, 60000, 60002), at(62000, 62001, 62000, 62001, 62002), true},
		{"one run each", at(1), at(90), true},
	} {
		if why := timing(tt.reference, tt.relay); (why != "") != tt.differs {
			t.Errorf("%s: got %q, want differs %t", tt.name, why, tt.differs)
		}
	}
}

func TestBlank(t *testing.T) {
	hi := func(random byte, tail string) []byte {
		b := make([]byte, 0, 64)
		b = append(b, 3, 3)
		for range 24 {
			b = append(b, random)
		}
		b = append(b, (tail + "\x01\x02\x03\x04\x05\x06\x07\x08")[:8]...)
		return append(b, 1, random, 0x13, 1, 0, 0, 8, 0, extKeyShare, 0, 4, 0, 29, 0, 0)
	}
	same := func(a, b []byte) bool {
		return string(message(message1(msgServerHello, a)).data) == string(message(message1(msgServerHello, b)).data)
	}
	if !same(hi(1, ""), hi(2, "x")) {
		t.Error("two randoms: got a difference, want none")
	}
	if same(hi(1, ""), hi(1, "DOWNGRD\x01")) {
		t.Error("the mark of a downgrade: got no difference, want one")
	}
}
