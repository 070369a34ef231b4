package faketls

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

func rec(kind byte, payload string) []byte {
	b := []byte{kind, 3, 3, byte(len(payload) >> 8), byte(len(payload))}
	return append(b, payload...)
}

func serverCodec() *codec {
	r := DefaultRecords()
	return &codec{records: &r, now: time.Now}
}

func TestDecode(t *testing.T) {
	ccs := rec(20, "\x01")
	for _, tt := range []struct {
		name    string
		wire    []byte
		client  bool
		payload string
		err     error
		ended   error
	}{
		{name: "nothing"},
		{name: "a record", wire: rec(23, "hello"), payload: "hello"},
		{name: "two", wire: append(rec(23, "hel"), rec(23, "lo")...), payload: "hello"},
		{name: "CCS first", wire: append(ccs, rec(23, "hello")...), payload: "hello"},
		{name: "a hundred CCS", wire: append(bytes.Repeat(ccs, 100), rec(23, "x")...), payload: "x"},
		{name: "CCS between", wire: slices.Concat(rec(23, "a"), ccs, rec(23, "b"), ccs), payload: "ab"},
		{name: "CCS to a client", wire: ccs, client: true, err: errRecord},
		{name: "empty records", wire: slices.Concat(rec(23, ""), rec(20, ""), rec(23, "a")), payload: "a"},
		{name: "half a record", wire: rec(23, "hello")[:8], payload: "hel", ended: io.ErrUnexpectedEOF},
		{name: "half a header", wire: rec(23, "hello")[:3], ended: io.ErrUnexpectedEOF},
		{name: "half a CCS", wire: ccs[:5], ended: io.ErrUnexpectedEOF},
		{name: "an alert", wire: append(rec(23, "a"), rec(21, "\x01\x00")...), payload: "a", err: errRecord},
		{name: "a handshake record", wire: rec(22, "a"), err: errRecord},
		{name: "another version", wire: []byte{23, 3, 1, 0, 1, 'a'}, err: errRecord},
		{name: "the longest", wire: append([]byte{23, 3, 3, 0x41, 0}, "a"...), client: true, payload: "a", ended: io.ErrUnexpectedEOF},
		{name: "longer", wire: []byte{23, 3, 3, 0x41, 1}, client: true, err: errRecord},
		{name: "a client's, longer", wire: append([]byte{23, 3, 3, 0xff, 0xff}, "a"...), payload: "a", ended: io.ErrUnexpectedEOF},
	} {
		for _, step := range []int{1, 2, 3, 7, len(tt.wire) + 1} {
			c := serverCodec()
			c.client = tt.client
			payload := []byte("before ")
			var err error
			for rest := tt.wire; len(rest) > 0 && err == nil; {
				n := min(step, len(rest))
				payload, err = c.Decode(payload, rest[:n])
				rest = rest[n:]
			}
			if string(payload) != "before "+tt.payload || err != tt.err {
				t.Errorf("%s, %d at a time: got %q, %v, want %q, %v", tt.name, step, payload, err, "before "+tt.payload, tt.err)
			}
			if err != nil {
				continue
			}
			if err := c.Ended(); err != tt.ended {
				t.Errorf("%s, %d at a time: Ended: got %v, want %v", tt.name, step, err, tt.ended)
			}
		}
	}
}

// sizesOf are the sizes of the records in wire.
func sizesOf(t *testing.T, wire []byte) (sizes []int) {
	t.Helper()
	for len(wire) > 0 {
		n := int(binary.BigEndian.Uint16(wire[3:]))
		if wire[0] != 23 || wire[1] != 3 || wire[2] != 3 || len(wire) < 5+n {
			t.Fatalf("wire: got % x, want a record of application data", wire[:5])
		}
		sizes = append(sizes, n)
		wire = wire[5+n:]
	}
	return sizes
}

func TestRecordSizes(t *testing.T) {
	now := time.Unix(1, 0)
	c := &codec{
		records: &Records{Small: 10, Smalls: 3, Medium: 20, Mediums: 2, Large: 50, Idle: time.Second},
		now:     func() time.Time { return now },
	}
	for _, step := range []struct {
		name    string
		after   time.Duration
		payload int
		want    []int
	}{
		{"a burst begins", 0, 25, []int{10, 10, 5}},
		{"it goes on", time.Second - 1, 130, []int{20, 20, 50, 40}},
		{"at full size", time.Second - 1, 101, []int{50, 50, 1}},
		{"after a pause", time.Second, 55, []int{10, 10, 10, 20, 5}},
		{"nothing", time.Hour, 0, nil},
		{"the clock goes back", -time.Hour, 60, []int{50, 10}},
	} {
		now = now.Add(step.after)
		wire, err := c.Encode(nil, make([]byte, step.payload))
		if got := sizesOf(t, wire); err != nil || !slices.Equal(got, step.want) {
			t.Errorf("%s: got %v, %v, want %v", step.name, got, err, step.want)
		}
	}
	if end := c.End([]byte("x")); string(end) != "x" {
		t.Errorf("End: got %q, want nothing appended", end)
	}
}

func TestDefaultRecords(t *testing.T) {
	r := DefaultRecords()
	if err := r.check(); err != nil {
		t.Fatalf("check: got %v, want nil", err)
	}
	wire, _ := serverCodec().Encode(nil, make([]byte, 1<<20))
	for i, n := range sizesOf(t, wire) {
		// A segment of Ethernet with timestamps has room for 1,448 bytes.
		if n > 1<<14 || i < 40 && n+5 > 1448 {
			t.Fatalf("record %d: got %d bytes, want less", i, n)
		}
	}
}

func TestFullRecords(t *testing.T) {
	r := FullRecords()
	if err := r.check(); err != nil {
		t.Fatalf("check: got %v, want nil", err)
	}
	wire, _ := (&codec{records: &r, now: time.Now}).Encode(nil, make([]byte, 5*maxRecord+1))
	if got, want := sizesOf(t, wire), []int{maxRecord, maxRecord, maxRecord, maxRecord, maxRecord, 1}; !slices.Equal(got, want) {
		t.Errorf("got records of %d bytes, want %d", got, want)
	}
}

// Both directions over a connection, with one half closed first, and bytes that
// arrive one at a time.
func TestCoded(t *testing.T) {
	a, b := relaytest.Pipe()
	defer a.Close()
	defer b.Close()
	client := transport.NewCoded(a, &codec{records: &clientRecords, now: time.Now, client: true})
	server := transport.NewCoded(dribble{b}, serverCodec())
	up, down := bytes.Repeat([]byte("up"), 10_000), bytes.Repeat([]byte("down"), 10_000)
	go func() {
		_, _ = client.Write(up)
		_ = client.CloseWrite()
	}()
	got, err := io.ReadAll(server)
	if !bytes.Equal(got, up) || err != nil {
		t.Errorf("up: got %d bytes, %v, want %d, nil", len(got), err, len(up))
	}
	go func() {
		_, _ = server.Write(down)
		_ = server.CloseWrite()
	}()
	got, err = io.ReadAll(client)
	if !bytes.Equal(got, down) || err != nil {
		t.Errorf("down, after the other half has closed: got %d bytes, %v, want %d, nil", len(got), err, len(down))
	}
}

// dribble reads a byte at a time.
type dribble struct{ transport.Conn }

func (d dribble) Read(b []byte) (int, error) { return d.Conn.Read(b[:min(1, len(b))]) }

func TestCodecAllocations(t *testing.T) {
	c, payload := serverCodec(), make([]byte, 16<<10)
	dst := make([]byte, 0, 32<<10)
	wire, _ := c.Encode(nil, payload)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = c.Encode(dst, payload)
		_, _ = c.Decode(dst, wire)
	}); n > 0 {
		t.Errorf("allocations: got %v, want 0", n)
	}
}

func BenchmarkCodec(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		payload, dst := make([]byte, size), make([]byte, 0, 32<<10)
		name := map[int]string{1 << 10: "1k", 16 << 10: "16k"}[size]
		b.Run("encode-"+name, func(b *testing.B) {
			c := serverCodec()
			c.records.Smalls, c.records.Mediums = 0, 0
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Encode(dst, payload)
			}
		})
		b.Run("decode-"+name, func(b *testing.B) {
			c := serverCodec()
			wire, _ := c.Encode(nil, payload)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Decode(dst, wire)
			}
		})
	}
}

// Frame and Encode make the same records, whoever puts the payload in.
func TestFrame(t *testing.T) {
	now := time.Unix(1, 0)
	clock := func() time.Time { return now }
	r := DefaultRecords()
	encoded, framed := &codec{records: &r, now: clock}, &codec{records: &r, now: clock}
	for _, n := range []int{1, 100, 1420, 5000, 200000, 300000} {
		payload := bytes.Repeat([]byte{byte(n)}, n)
		want, err := encoded.Encode(nil, payload)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(payload) > 0 {
			most := framed.FrameSize()
			var size int
			if got, size = framed.Frame(got, len(payload)); size < 1 || size > most {
				t.Fatalf("got a record of %d bytes, want 1 to %d", size, most)
			}
			got, payload = append(got, payload[:size]...), payload[size:]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got other records than from Encode", n)
		}
		now = now.Add(300 * time.Millisecond)
	}
	if got := framed.FrameSize(); got != r.Large {
		t.Errorf("after many: got records of %d bytes, want %d", got, r.Large)
	}
}
