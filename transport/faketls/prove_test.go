package faketls

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
	"relay/transport/hello"
)

func TestMAC(t *testing.T) {
	v := newVisit()
	for n := range 300 {
		a, b := bytes.Repeat([]byte{'a'}, n), bytes.Repeat([]byte{'b'}, n/2)
		m := hmac.New(sha256.New, testKey[:])
		m.Write(a)
		m.Write(b)
		if got, want := v.mac.sum(&testKey, a, b)[:], m.Sum(nil); !bytes.Equal(got, want) {
			t.Fatalf("code of %d bytes: got %x, want %x", n, got, want)
		}
	}
	v.mac.forget()
	if v.mac.block != [64]byte{} {
		t.Errorf("after forget: got % x, want zeros", v.mac.block)
	}
}

func TestCandidates(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	for _, tt := range []struct {
		users int
		ok    bool
	}{{1, true}, {MaxCandidates, true}, {MaxCandidates + 1, false}} {
		s := newStand(t, clock, func(o *Options) { o.Keys = crowd(tt.users) })
		user, _, _, err := s.visit(t, Hello(Classic, testName, &testKey, clock))
		if (err == nil) != tt.ok || err == nil && user.ID != uint64(tt.users) {
			t.Errorf("%d users: got user %d, %v, want ok %v", tt.users, user.ID, err, tt.ok)
		}
		if got := len(s.events) == 1 && s.events[0].Kind == BudgetSpent; got == tt.ok {
			t.Errorf("%d users: got events %v, want budget_spent %v", tt.users, s.events, !tt.ok)
		}
	}
}

// A hello that is padded to the utmost costs no more than a large one of a browser's,
// and nobody is told about it.
func TestCandidatesPadded(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	s := newStand(t, clock, func(o *Options) { o.Keys = crowd(MaxCandidates) })
	for _, shape := range []Shape{Classic, Chrome} {
		if n := len(newHello(shape, testName)); mostBlocks/macBlocks(n) < MaxCandidates {
			t.Errorf("a hello of %d bytes: got %d trials, want %d", n, mostBlocks/macBlocks(n), MaxCandidates)
		}
	}
	v := visits.Get().(*visit)
	defer v.release()
	full := s.budget.time
	if _, ok := s.judge(v, padded(t, newHello(Chrome, testName), 16<<10), transport.Source(nobody{})); ok {
		t.Fatal("hello without a digest: got it accepted, want not")
	}
	if spent, most := full-s.budget.time, mostBlocks*s.budget.block; spent <= 0 || spent > most {
		t.Errorf("a padded hello: got %v spent, want some, up to %v", spent, most)
	}
	if len(s.events) > 0 {
		t.Errorf("a padded hello: got events %v, want none", s.events)
	}
}

// padded lengthens a hello by an extension of padding (RFC 7685).
func padded(t *testing.T, record []byte, size int) []byte {
	t.Helper()
	more := size - 4 - len(record) // of the extension's data
	b := append(bytes.Clone(record), 0, 21, byte(more>>8), byte(more))
	b = append(b, make([]byte, more)...)
	binary.BigEndian.PutUint16(b[3:], uint16(len(b)-5))
	b[6], b[7], b[8] = 0, byte((len(b)-9)>>8), byte(len(b)-9)
	at := 5 + 4 + 2 + 32
	at += 1 + int(b[at])
	at += 2 + int(binary.BigEndian.Uint16(b[at:]))
	at += 1 + int(b[at])
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	if got := hello.Match(b); got != hello.Match(record) {
		t.Fatalf("padded hello: got %v, want %v", got, hello.Match(record))
	}
	return b
}

// A flood of hellos with our name uses the time for trials up. Then only users
// whom Keys puts first get in, until there is time again.
func TestBudget(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	s := newStand(t, clock, func(o *Options) { o.Keys = crowd(100) })
	flood := newHello(Chrome, testName)
	for n := 0; s.budget.left(s.clock); n++ {
		if n > 1_000_000 {
			t.Fatal("a million hellos: got time left, want none")
		}
		v := visits.Get().(*visit)
		if _, ok := s.judge(v, flood, transport.Source(nobody{})); ok {
			t.Fatal("hello without a digest: got it accepted, want not")
		}
		v.release()
	}
	visit := func(key *[16]byte) error {
		_, _, _, err := s.visit(t, Hello(Classic, testName, key, clock))
		return err
	}
	s.events = nil
	if err := visit(&testKey); !errors.Is(err, transport.ErrNotOurs) || len(s.events) != 1 || s.events[0].Kind != BudgetSpent {
		t.Errorf("the last of 100: got %v, events %v, want ErrNotOurs, budget_spent", err, s.events)
	}
	if err := visit(&s.keys.keys[AlwaysTried-1]); err != nil {
		t.Errorf("one of the first: got %v, want nil", err)
	}
	if err := visit(&s.keys.keys[AlwaysTried]); !errors.Is(err, transport.ErrNotOurs) {
		t.Errorf("the one behind: got %v, want ErrNotOurs", err)
	}
	s.clock = clock.Add(time.Second)
	if err := visit(&testKey); err != nil {
		t.Errorf("a second later: got %v, want nil", err)
	}
}

// The budget is a tenth of the time, whatever is spent.
func TestBudgetShare(t *testing.T) {
	now := time.Unix(1, 0)
	var b budget
	b.start(now)
	b.block = time.Microsecond
	var spent time.Duration
	for range 100_000 {
		now = now.Add(100 * time.Microsecond)
		if b.left(now) {
			b.spend(500)
			spent += 500 * time.Microsecond
		}
	}
	if least, most := time.Second, time.Second+budgetBurst+time.Millisecond; spent < least || spent > most {
		t.Errorf("spent in 10 s: got %v, want %v to %v", spent, least, most)
	}
	now = now.Add(-time.Hour)
	if b.left(now) && spent > 2*time.Second {
		t.Error("clock set back: got time for it, want none")
	}
}

// nobody is a conn without an address.
type nobody struct{ transport.Conn }

func (nobody) Source() (a netip.Addr) { return a }

func BenchmarkCandidate(b *testing.B) {
	for name, shape := range map[string]Shape{"chrome": Chrome, "classic": Classic} {
		b.Run(name, func(b *testing.B) {
			record := newHello(shape, testName)
			v := newVisit()
			b.ReportAllocs()
			for b.Loop() {
				v.mac.sum(&testKey, record, nil)
			}
		})
	}
}

// handshakes measures the server's side only.
func handshakes(b *testing.B, users int, ours bool, cover func(string) Cover) {
	clock := time.Unix(1795336000, 0)
	key := testKey
	if !ours {
		key = [16]byte{}
	}
	wire := Hello(Chrome, testName, &key, clock)
	s := newStand(b, clock, func(o *Options) { o.Keys, o.Cover = crowd(users), cover })
	s.budget.block = 0
	client, below := relaytest.Pipe()
	defer client.Close()
	defer below.Close()
	b.ReportAllocs()
	for b.Loop() {
		v := visits.Get().(*visit)
		_, ok := s.judge(v, wire, nobody{}.Source())
		if ok != ours && len(s.events) == 0 {
			b.Fatalf("got %v, want %v", ok, ours)
		}
		if ours {
			// A replay after the first; the proof is the same work.
			c := s.unknown
			if cover != nil {
				c = cover("")
			}
			if _, err := v.answer(c); err != nil {
				b.Fatal(err)
			}
		}
		v.release()
	}
}

func BenchmarkHandshake(b *testing.B) {
	pq := func(string) Cover { return Cover{Group: 0x11ec, Sizes: []int{4000}} }
	b.Run("user=1,x25519", func(b *testing.B) { handshakes(b, 1, true, nil) })
	b.Run("user=1,x25519mlkem768", func(b *testing.B) { handshakes(b, 1, true, pq) })
	b.Run("user=256,x25519mlkem768", func(b *testing.B) { handshakes(b, 256, true, pq) })
	b.Run("stranger,users=256", func(b *testing.B) { handshakes(b, 256, false, nil) })
}
