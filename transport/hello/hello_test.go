package hello_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"relay/transport"
	"relay/transport/hello"
)

var recordings = []string{"chromium", "curl", "openssl"}

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

// divide puts the message of a record into several; sizes are those of all but
// the last.
func divide(record []byte, sizes ...int) []byte {
	rest, out := record[5:], []byte(nil)
	for _, n := range append(sizes, len(rest)) {
		n = min(n, len(rest))
		out = append(out, record[:3]...)
		out = binary.BigEndian.AppendUint16(out, uint16(n))
		out = append(out, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
	}
	return out
}

func TestMatchRecordings(t *testing.T) {
	for _, name := range recordings {
		record := recording(t, name)
		for way, wire := range map[string][]byte{
			"one record":            record,
			"two records":           divide(record, 100),
			"divided in its header": divide(record, 1, 1, 1, 1, 1),
			"ten records":           divide(record, 3, 10, 20, 30, 40, 50, 60, 70, 30),
		} {
			for n := range len(wire) {
				if got := hello.Match(wire[:n]); got != transport.More {
					t.Fatalf("%s, %s: Match of %d bytes: got %v, want More", name, way, n, got)
				}
			}
			if got := hello.Match(wire); got != transport.Yes {
				t.Errorf("%s, %s: Match: got %v, want Yes", name, way, got)
			}
			more := append(bytes.Clone(wire), "what follows"...)
			if got := hello.Match(more); got != transport.Yes {
				t.Errorf("%s, %s: Match with more behind it: got %v, want Yes", name, way, got)
			}
			got, n, ok := hello.Record(nil, more)
			if !ok || n != len(wire) || !bytes.Equal(got, record) {
				t.Errorf("%s, %s: Record: got %d bytes of %d, %v, want the original from %d", name, way, len(got), n, ok, len(wire))
			}
		}
		if got := hello.Match(divide(record, 3, 10, 20, 30, 40, 50, 60, 70, 10, 10)); got != transport.No {
			t.Errorf("%s, eleven records: got %v, want No", name, got)
		}
	}
}

func TestMatchStrangers(t *testing.T) {
	record := recording(t, "openssl")
	changed := func(at int, to ...byte) []byte {
		b := bytes.Clone(record)
		copy(b[at:], to)
		return b
	}
	for _, tt := range []struct {
		name string
		wire []byte
		want transport.Verdict
	}{
		{"nothing", nil, transport.More},
		{"HTTP", []byte("G"), transport.No},
		{"SSH", []byte("SSH-2.0"), transport.No},
		{"SOCKS5", []byte{5}, transport.No},
		{"type", []byte{22}, transport.More},
		{"version 2", []byte{22, 2}, transport.No},
		{"version 3.0", []byte{22, 3, 0}, transport.No},
		{"version 3.2", []byte{22, 3, 2}, transport.No},
		{"version 3.3", changed(2, 3), transport.Yes},
		{"an empty record", []byte{22, 3, 1, 0, 0}, transport.No},
		{"a record longer than TLS has", []byte{22, 3, 1, 0x40, 1}, transport.No},
		{"a record longer than we read", []byte{22, 3, 1, 0x40, 0}, transport.No},
		{"a ServerHello", []byte{22, 3, 1, 1, 0, 2}, transport.No},
		{"a message of 64 KiB", []byte{22, 3, 1, 1, 0, 1, 1}, transport.No},
		{"a message longer than we read", []byte{22, 3, 1, 1, 0, 1, 0, 0x40, 0}, transport.No},
		{"a message that is too short", []byte{22, 3, 1, 1, 0, 1, 0, 0, 40}, transport.No},
		{"something behind the hello in its record", changed(3, record[3], record[4]+1), transport.No},
		{"a record shorter than the hello", changed(3, record[3], record[4]-1)[:len(record)-1], transport.More},
		{"an alert between", append(divide(record, 50)[:55], 21), transport.No},
		{"another version between", append(divide(record, 50)[:55], 22, 3, 3), transport.More},
	} {
		if got := hello.Match(tt.wire); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMatchLargest(t *testing.T) {
	message := func(size int) []byte {
		b := make([]byte, 5+size)
		copy(b, []byte{22, 3, 1, byte(size >> 8), byte(size), 1, 0, byte((size - 4) >> 8), byte(size - 4)})
		return b
	}
	if got := hello.Match(message(hello.MaxSize - 5)); got != transport.Yes {
		t.Errorf("largest hello: got %v, want Yes", got)
	}
	if got := hello.Match(message(hello.MaxSize - 4)); got != transport.No {
		t.Errorf("a byte more: got %v, want No", got)
	}
	if got := hello.Match(divide(message(hello.MaxSize-5), 100)[:200]); got != transport.No {
		t.Errorf("largest hello in two records: got %v, want No as soon as that is known", got)
	}
	// All the room is used up by what is not the whole hello yet.
	if got := hello.Match(divide(message(hello.MaxSize-10), hello.MaxSize-11)[:hello.MaxSize-6]); got != transport.More {
		t.Errorf("a hello that just fits in two records: got %v, want More", got)
	}
	if got := hello.Match(divide(message(hello.MaxSize-9), hello.MaxSize-10)[:100]); got != transport.No {
		t.Errorf("a hello that just does not: got %v, want No", got)
	}
}

func TestParse(t *testing.T) {
	h, err := hello.Parse(hello.Message(recording(t, "chromium")))
	if err != nil {
		t.Fatalf("Parse: got %v, want nil", err)
	}
	if h.Version != 0x0303 || len(h.Random) != 32 || len(h.SessionID) != 32 || string(h.ServerName) != "www.example.org" {
		t.Errorf("Parse: got version %#x, %d, %d, name %q, want 0x303, 32, 32, www.example.org",
			h.Version, len(h.Random), len(h.SessionID), h.ServerName)
	}
	suites := slices.Collect(h.CipherSuites())
	if len(suites) != 16 || !hello.IsGREASE(suites[0]) || suites[1] != 0x1301 || !h.OffersSuite(0x1303) || h.OffersSuite(0x1304) {
		t.Errorf("cipher suites: got %#x, want GREASE and Chromium's fifteen", suites)
	}
	groups := slices.Collect(h.Groups())
	if len(groups) < 4 || !hello.IsGREASE(groups[0]) || !h.OffersGroup(hello.GroupX25519MLKEM768) || h.OffersGroup(1) {
		t.Errorf("groups: got %#x, want GREASE, the post-quantum one and more", groups)
	}
	if versions := slices.Collect(h.Versions()); !h.OffersVersion(hello.VersionTLS13) || h.OffersVersion(0x0301) {
		t.Errorf("versions: got %#x, want TLS 1.3 and not 1.0", versions)
	}
	var protocols []string
	for p := range h.Protocols() {
		protocols = append(protocols, string(p))
	}
	if !slices.Equal(protocols, []string{"h2", "http/1.1"}) {
		t.Errorf("protocols: got %q, want h2, http/1.1", protocols)
	}
	for group, size := range map[uint16]int{hello.GroupX25519: 32, hello.GroupX25519MLKEM768: 1216, hello.GroupP256: 0} {
		if got := len(h.KeyShare(group)); got != size {
			t.Errorf("key share %#x: got %d bytes, want %d", group, got, size)
		}
	}
}

// ext is a hello with the given extensions, as hex.
func ext(t testing.TB, extensions string) []byte {
	t.Helper()
	e, err := hex.DecodeString(strings.ReplaceAll(extensions, " ", ""))
	if err != nil {
		t.Fatalf("hex: got %v, want nil", err)
	}
	b := append([]byte{1, 0, 0, 0, 3, 3}, make([]byte, 32)...)
	b = append(b, 0, 0, 2, 0x13, 1, 1, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e)))
	b = append(b, e...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

func TestParseMalformed(t *testing.T) {
	for _, tt := range []struct {
		name, extensions string
		ok               bool
	}{
		{"no extensions", "", true},
		{"unknown extension", "ffce 0001 00", true},
		{"a name", "0000 0006 0004 00 0001 61", true},
		{"two names", "0000 000a 0008 00 0001 61 00 0001 62", false},
		{"a name of another kind, and a name", "0000 000a 0008 01 0001 61 00 0001 62", true},
		{"an empty name", "0000 0005 0003 00 0000", false},
		{"no names", "0000 0002 0000", false},
		{"an empty server_name", "0000 0000", false},
		{"something behind the names", "0000 0007 0004 00 0001 61 00", false},
		{"server_name twice", "0000 0006 0004 00 0001 61 0000 0006 0004 00 0001 61", false},
		{"an odd number of groups' bytes", "000a 0005 0003 001d00", false},
		{"no groups", "000a 0002 0000", false},
		{"no versions", "002b 0001 00", false},
		{"versions", "002b 0003 02 0304", true},
		{"no key shares", "0033 0002 0000", true},
		{"an empty key", "0033 0006 0004 001d 0000", false},
		{"a key that is longer than the list", "0033 0007 0005 001d 0002 61", false},
		{"no protocols", "0010 0002 0000", false},
		{"an empty protocol", "0010 0003 0001 00", false},
		{"an extension that is cut off", "0010 0003 0001", false},
		{"half an extension header", "0010 00", false},
	} {
		if _, err := hello.Parse(ext(t, tt.extensions)); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want ok %v", tt.name, err, tt.ok)
		}
	}
	record := recording(t, "chromium")
	for n := range len(record) - 5 {
		if _, err := hello.Parse(record[5 : 5+n]); err == nil {
			t.Fatalf("Parse of the first %d bytes: got nil, want an error", n)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	record := recording(t, "chromium")
	if n := testing.AllocsPerRun(100, func() {
		record, _, _ := hello.Record(nil, record)
		h, err := hello.Parse(hello.Message(record))
		if err != nil || len(h.KeyShare(hello.GroupX25519)) != 32 || !h.OffersSuite(0x1301) {
			t.Fatal("the recording does not parse")
		}
		for p := range h.Protocols() {
			_ = p
		}
	}); n > 0 && !raceEnabled {
		t.Errorf("allocations: got %v, want 0", n)
	}
}

func BenchmarkParse(b *testing.B) {
	record := recording(b, "chromium")
	b.ReportAllocs()
	for b.Loop() {
		record, _, _ := hello.Record(nil, record)
		h, err := hello.Parse(hello.Message(record))
		if err != nil || h.KeyShare(hello.GroupX25519) == nil {
			b.Fatal(err)
		}
	}
}
