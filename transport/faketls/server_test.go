package faketls

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
	"relay/transport/hello"
)

const testName = "cdn.example.net"

var testKey = [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// recordings are the hellos of testdata, with the time in them.
var recordings = map[string]int64{"gotd": 1795336348, "classic": 1795336000, "safari": 1795336000}

func recording(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil {
		t.Fatalf("recording: got %v, want nil", err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatalf("recording %s: got %v, want hex", name, err)
	}
	return b
}

// ring is a list of keys for one name.
type ring struct {
	name string
	keys [][16]byte // of users 1, 2, …

	mu     sync.Mutex
	proved []uint64
}

func (r *ring) Candidates(name string, _ netip.Addr, yield func(auth.User, *[16]byte) bool) {
	if name != r.name {
		return
	}
	for i := range r.keys {
		if !yield(auth.User{ID: uint64(i + 1)}, &r.keys[i]) {
			return
		}
	}
}

func (r *ring) Proved(user auth.User, _ string, _ netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proved = append(r.proved, user.ID)
}

// crowd is a ring of n keys of which the last is testKey.
func crowd(n int) *ring {
	r := &ring{name: testName, keys: make([][16]byte, n)}
	for i := range r.keys {
		r.keys[i] = [16]byte{0xff, byte(i >> 8), byte(i)}
	}
	r.keys[n-1] = testKey
	return r
}

// stand is a server whose clock stands still, and what it has said.
type stand struct {
	*Server
	keys   *ring
	clock  time.Time
	events []Event
}

func newStand(t testing.TB, clock time.Time, change func(*Options)) *stand {
	t.Helper()
	s := &stand{keys: crowd(1), clock: clock}
	o := Options{
		Names: []string{testName, "other.example.net"}, Keys: s.keys,
		Replays: auth.NewReplays(clock.Add(-time.Hour), 0),
		Now:     func() time.Time { return s.clock },
		Observe: func(e Event) { s.events = append(s.events, e) },
	}
	if change != nil {
		change(&o)
	}
	if r, ok := o.Keys.(*ring); ok {
		s.keys = r
	}
	var err error
	if s.Server, err = NewServer(o); err != nil {
		t.Fatalf("NewServer: got %v, want nil", err)
	}
	return s
}

// sinkFunc is a Sink that is a function.
type sinkFunc func(context.Context, auth.User, transport.Conn) error

func (f sinkFunc) Stream(ctx context.Context, u auth.User, c transport.Conn) error {
	return f(ctx, u, c)
}

// counted counts the writes to a connection.
type counted struct {
	transport.Conn
	writes [][]byte
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes = append(c.writes, bytes.Clone(b))
	return c.Conn.Write(b)
}

// visit lets a server see wire as the first bytes of a connection.
func (s *stand) visit(t testing.TB, wire []byte) (user auth.User, writes [][]byte, unread []byte, err error) {
	t.Helper()
	client, below := relaytest.Pipe()
	t.Cleanup(func() { _ = client.Close(); _ = below.Close() })
	if _, err := client.Write(wire); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	c := &counted{Conn: below}
	raw := transport.NewPeeked(c)
	if _, err := raw.Peek(min(len(wire), transport.MaxPeek)); err != nil {
		t.Fatalf("peek: got %v, want nil", err)
	}
	err = s.Serve(t.Context(), raw, sinkFunc(func(_ context.Context, u auth.User, _ transport.Conn) error {
		user = u
		return nil
	}))
	return user, c.writes, bytes.Clone(raw.Unread()), err
}

// checkFlight checks a flight as Telegram's clients do, and by other means than
// the code.
func checkFlight(t testing.TB, flight, random []byte) {
	t.Helper()
	read, err := readFlight(bytes.NewReader(flight))
	if err != nil || len(read) != len(flight) {
		t.Fatalf("flight: got %d of %d bytes, %v, want three records and nothing else", len(read), len(flight), err)
	}
	if !bytes.Equal(read[:3], []byte{22, 3, 3}) {
		t.Errorf("flight: got % x, want 16 03 03 first", read[:3])
	}
	proof := bytes.Clone(read[11:43])
	clear(read[11:43])
	m := hmac.New(sha256.New, testKey[:])
	m.Write(random)
	m.Write(read)
	if got := m.Sum(nil); !bytes.Equal(got, proof) {
		t.Errorf("random of the ServerHello: got %x, want %x", proof, got)
	}
}

func TestRecordings(t *testing.T) {
	for name, at := range recordings {
		record := recording(t, name)
		s := newStand(t, time.Unix(at, 0), nil)
		user, writes, unread, err := s.visit(t, append(bytes.Clone(record), "behind"...))
		if err != nil || user.ID != 1 || string(unread) != "behind" {
			t.Errorf("%s: got user %d, %q unread, %v, want user 1, what is behind the hello, nil", name, user.ID, unread, err)
			continue
		}
		if len(writes) != 1 {
			t.Errorf("%s: got %d writes, want the flight in one", name, len(writes))
		}
		checkFlight(t, writes[0], record[11:43])
		if sid := writes[0][43:76]; !bytes.Equal(sid, record[43:76]) {
			t.Errorf("%s: session id: got %x, want %x", name, sid, record[43:76])
		}
		if len(s.keys.proved) != 1 || len(s.events) != 0 {
			t.Errorf("%s: got %v proved, events %v, want one and none", name, s.keys.proved, s.events)
		}
	}
}

func TestStrangers(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	ours := func(at time.Duration) []byte { return Hello(Chrome, testName, &testKey, clock.Add(at)) }
	flip := func(b []byte, at int) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	for _, tt := range []struct {
		name  string
		wire  []byte
		event EventKind
	}{
		{"another key", Hello(Chrome, testName, &[16]byte{1}, clock), ""},
		{"a key for another of our names", Hello(Chrome, "other.example.net", &testKey, clock), ""},
		{"another name", Hello(Chrome, "www.example.org", &testKey, clock), ""},
		{"no digest", newHello(Chrome, testName), ""},
		{"a bit of the digest", flip(ours(0), 38), ""},
		{"a bit of the session id", flip(ours(0), 50), ""},
		{"the last bit", flip(ours(0), -1), ""},
		{"too old", ours(-DefaultSkew - time.Second), ClockWrong},
		{"too new", ours(DefaultSkew + time.Second), ClockWrong},
		{"time since boot", Hello(Chrome, testName, &testKey, time.Unix(86400, 0)), ClockWrong},
		{"half a hello", ours(0)[:900], ""},
		{"no server name", func() []byte {
			b := newHello(Chrome, "")
			sign(b, &testKey, clock)
			return b
		}(), ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: cdn.example.net\r\n\r\n"), ""},
		{"a hello with nonsense inside", func() []byte {
			b := ours(0)
			b[76] = 0xff // length of the cipher suites
			sign(b, &testKey, clock)
			return b
		}(), ""},
	} {
		s := newStand(t, clock, nil)
		_, writes, unread, err := s.visit(t, tt.wire)
		if !errors.Is(err, transport.ErrNotOurs) || len(writes) != 0 || !bytes.Equal(unread, tt.wire) {
			t.Errorf("%s: got %v, %d writes, %d of %d bytes unread, want ErrNotOurs and nothing touched",
				tt.name, err, len(writes), len(unread), len(tt.wire))
		}
		var kind EventKind
		if len(s.events) > 0 {
			kind = s.events[0].Kind
		}
		if kind != tt.event || len(s.keys.proved) != 0 {
			t.Errorf("%s: got event %q, proved %v, want %q, none", tt.name, kind, s.keys.proved, tt.event)
		}
	}
}

// Links of other programs may say a name in capitals, as clients then do.
func TestNameInCapitals(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	s := newStand(t, clock, nil)
	if _, _, _, err := s.visit(t, Hello(Chrome, "CDN.Example.net", &testKey, clock)); err != nil {
		t.Errorf("our name in capitals: got %v, want nil", err)
	}
}

func TestSkew(t *testing.T) {
	clock := time.Unix(1795336000, 900e6)
	for _, tt := range []struct {
		window, skew time.Duration
		ok           bool
	}{
		{0, 2 * time.Minute, true}, {0, -2 * time.Minute, true}, {0, 121 * time.Second, false},
		{5 * time.Second, 5 * time.Second, true}, {5 * time.Second, -6 * time.Second, false},
	} {
		s := newStand(t, clock, func(o *Options) { o.Skew = tt.window })
		_, _, _, err := s.visit(t, Hello(Classic, testName, &testKey, clock.Add(tt.skew)))
		if (err == nil) != tt.ok {
			t.Errorf("window %v, skew %v: got %v, want ok %v", tt.window, tt.skew, err, tt.ok)
		}
		if err != nil && (len(s.events) != 1 || s.events[0] != Event{Kind: ClockWrong, User: auth.User{ID: 1}, Skew: tt.skew}) {
			t.Errorf("window %v, skew %v: got events %v, want a hint with the skew", tt.window, tt.skew, s.events)
		}
	}
}

func TestReplay(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	s := newStand(t, clock, nil)
	wire := Hello(Chrome, testName, &testKey, clock)
	if _, _, _, err := s.visit(t, wire); err != nil {
		t.Fatalf("first: got %v, want nil", err)
	}
	s.clock = clock.Add(time.Minute)
	for way, again := range map[string][]byte{"same": wire, "other records": divide(wire, 7, 300)} {
		_, writes, unread, err := s.visit(t, again)
		if !errors.Is(err, transport.ErrNotOurs) || len(writes) > 0 || !bytes.Equal(unread, again) {
			t.Errorf("%s: got %v, %d writes, %d bytes unread, want ErrNotOurs and nothing touched", way, err, len(writes), len(unread))
		}
	}
	if want := (Event{Kind: Replay, User: auth.User{ID: 1}}); len(s.events) != 2 || s.events[0] != want {
		t.Errorf("events: got %v, want two of %v", s.events, want)
	}
	// A relay that has started since remembers nothing, and takes nothing older.
	s = newStand(t, clock.Add(time.Second), func(o *Options) { o.Replays = nil })
	if _, _, _, err := s.visit(t, wire); !errors.Is(err, transport.ErrNotOurs) || s.events[0].Kind != Forgotten {
		t.Errorf("after a start: got %v, %v, want ErrNotOurs, forgotten", err, s.events)
	}
}

// Who fills the replay memory is named, unless it is everybody.
func TestReplaysFull(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	for _, tt := range []struct {
		name string
		user func(n int) uint64
		want Event
	}{
		{"by one", func(int) uint64 { return 1 }, Event{Kind: Full, User: auth.User{ID: 1}}},
		{"by many", func(n int) uint64 { return 2 + uint64(n) }, Event{Kind: Full}},
	} {
		s := newStand(t, clock, func(o *Options) {
			o.Replays = auth.NewReplays(clock, 64)
			for n := range 65 {
				_ = o.Replays.First(auth.Proof{Value: [16]byte{byte(n)}, User: tt.user(n), Stamp: clock}, clock, DefaultSkew)
			}
		})
		_, _, _, err := s.visit(t, Hello(Classic, testName, &testKey, clock))
		if !errors.Is(err, transport.ErrNotOurs) || len(s.events) != 1 || s.events[0] != tt.want {
			t.Errorf("%s: got %v, %v, want ErrNotOurs and %v", tt.name, err, s.events, tt.want)
		}
	}
}

// divide puts the message of a record into several; sizes are those of all but
// the last.
func divide(record []byte, sizes ...int) []byte {
	rest, out := record[5:], []byte(nil)
	for _, n := range append(sizes, len(rest)) {
		n = min(n, len(rest))
		out = append(append(out, record[0], record[1], record[2], byte(n>>8), byte(n)), rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
	}
	return out
}

func TestDividedHello(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	for _, shape := range []Shape{Chrome, Safari, Classic} {
		for n := range hello.MaxRecords {
			wire := Hello(shape, testName, &testKey, clock)
			sizes := make([]int, n)
			for i := range sizes {
				sizes[i] = 1 + i*13
			}
			s := newStand(t, clock, nil)
			_, writes, _, err := s.visit(t, divide(wire, sizes...))
			if err != nil {
				t.Errorf("shape %d in %d records: got %v, want nil", shape, n+1, err)
				continue
			}
			checkFlight(t, writes[0], wire[11:43])
		}
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no names", func(o *Options) { o.Names = nil }, "no server names"},
		{"an empty name", func(o *Options) { o.Names = []string{""} }, "name of 0 bytes"},
		{"a long name", func(o *Options) { o.Names = []string{strings.Repeat("a", 183)} }, "name of 183 bytes"},
		{"no keys", func(o *Options) { o.Keys = nil }, "no keys"},
		{"skew", func(o *Options) { o.Skew = -1 }, "negative skew"},
		{"records", func(o *Options) { o.Records = DefaultRecords(); o.Records.Large = 16385 }, "records of 16385 bytes"},
	} {
		o := Options{Names: []string{testName}, Keys: crowd(1)}
		tt.change(&o)
		if _, err := NewServer(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
	}
}
