package upstream

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"
)

// outcomes makes a record of them, a minute apart, the last a minute ago.
func outcomes(now time.Time, all string) (r record) {
	for i, c := range all {
		r = r.after(c == '+', now.Add(time.Duration(i-len(all))*time.Minute))
	}
	return r
}

// TestScores is which way is tried before another.
func TestScores(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name, first, second string
		age                 time.Duration // of the first's
		want                int           // below 0: the first
	}{
		{"nothing is known", "", "", 0, 0},
		{"worked once", "+", "", 0, -1},
		{"failed once", "-", "", 0, 1},
		{"nine of ten, failed last", "+++++++++-", "+", 0, -1},
		{"nine of ten, failed first", "-+++++++++", "+", 0, -1},
		{"nine of ten, failed in between", "++++-+++++", "+", 0, -1},
		{"one of ten", "+---------", "-", 0, 1},
		{"blocked after it had worked", "++++++++++++++++++++---", "+++", 0, 1},
		{"both mostly work", "++++++++++", "+++++++++++", 0, 0},
		{"long ago", "+++", "+", 28 * 24 * time.Hour, 1},
		{"failed long ago", "---", "-", 28 * 24 * time.Hour, -1},
	} {
		a, b := &way{record: outcomes(now.Add(-tt.age), tt.first)}, &way{record: outcomes(now, tt.second)}
		got := better(a, b, now)
		if got < 0 != (tt.want < 0) || got > 0 != (tt.want > 0) {
			t.Errorf("%s: got %d (scores %.2f and %.2f), want %d", tt.name, got, a.record.at(now), b.record.at(now), tt.want)
		}
		if back := better(b, a, now); back != -got {
			t.Errorf("%s, the other way round: got %d, want %d", tt.name, back, -got)
		}
	}
}

func TestRecordJSON(t *testing.T) {
	when := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		text string
		want record
		bad  bool
	}{
		{`{"score":0.25,"at":"2026-11-01T12:00:00Z"}`, record{0.25, when}, false},
		{`"2026-11-01T12:00:00Z"`, workedAt(when), false},
		{`{}`, record{}, false},
		{`{"score":-0.1}`, record{}, true},
		{`{"score":1.1}`, record{}, true},
		{`"yesterday"`, record{}, true},
		{`7`, record{}, true},
	} {
		var got record
		if err := json.Unmarshal([]byte(tt.text), &got); (err != nil) != tt.bad || !tt.bad && got != tt.want {
			t.Errorf("%s: got %v, %v, want %v, an error %v", tt.text, got, err, tt.want, tt.bad)
		}
	}
}

// TestNothingWorks is that nothing is learned of ways while none of them works.
func TestNothingWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{ready: refuse}, &fake{ready: refuse}
		s := newSet(t, a, b)
		for range 20 {
			if c, err := s.DialStream(t.Context(), target(t), nil); err == nil {
				t.Fatalf("DialStream: got %v, want an error", c)
			}
			time.Sleep(time.Minute)
		}
		for _, st := range s.States() {
			if st.Score != unknownScore {
				t.Errorf("%s: got a score of %v, want %v", st.Name, st.Score, unknownScore)
			}
		}
		b.ready = nil
		if w := answered(t, s, a, b); w != b {
			t.Fatalf("got an answer on %s, want b", w.name)
		}
		if st := s.States(); st[0].Score >= unknownScore || st[1].Score <= unknownScore {
			t.Errorf("once b works: got scores of %v and %v, want one below %v and one above", st[0].Score, st[1].Score, unknownScore)
		}
	})
}

// TestScoreOrder is that what has mostly worked here is tried first when what is in use
// is lost, also by the next relay.
func TestScoreOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := OpenMemory(t.TempDir()+"/ways.json", at("home"))
		now := time.Now()
		m.note("home", "key of b", outcomes(now, "+"))
		m.note("home", "key of c", outcomes(now, "++++-++++"))
		a, b, c := &fake{live: true}, &fake{}, &fake{}
		s := newSetWith(t, Options{Memory: m}, a, b, c)
		if w := answered(t, s, a, b, c); w != a {
			t.Fatalf("the first stream: got %s, want a, which is connected", w.name)
		}
		a.lose()
		a.ready = refuse
		if w := answered(t, s, a, b, c); w != c {
			t.Errorf("when that is lost: got %s, want c", w.name)
		}
		s.Close()
		s = newSetWith(t, Options{Memory: m}, &fake{name: "a", ready: refuse}, &fake{name: "b"}, &fake{name: "c"})
		if st := s.States(); st[2].Score <= st[1].Score {
			t.Errorf("remembered: got scores of %v and %v, want that of c above that of b", st[2].Score, st[1].Score)
		}
	})
}

// answered makes a stream that is answered, and returns its way.
func answered(t *testing.T, s *Set, ways ...*fake) *fake {
	t.Helper()
	var before []int
	for _, f := range ways {
		before = append(before, f.count())
	}
	c := dial(t, s, "x")
	for i, f := range ways {
		if n := f.count(); n > before[i] {
			_, _ = f.nth(t, n-1).far.Write([]byte("y"))
			read(t, c, "y")
			_ = c.Close()
			return f
		}
	}
	t.Fatal("got the stream on none of the ways")
	return nil
}
