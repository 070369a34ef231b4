package faketls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"math/big"
	"slices"
	"testing"
	"time"

	"relay/transport/hello"
)

// answered is the flight of a server with cover to a hello, taken apart.
func answered(t testing.TB, cover Cover, record []byte) (answer, []byte) {
	t.Helper()
	clock := time.Unix(1795336000, 0)
	s := newStand(t, clock, func(o *Options) { o.Cover = func(string) Cover { return cover } })
	sign(record, &testKey, clock)
	_, writes, _, err := s.visit(t, record)
	if err != nil || len(writes) != 1 {
		t.Fatalf("Serve: got %v, %d writes, want nil, 1", err, len(writes))
	}
	checkFlight(t, writes[0], record[11:43])
	a, err := readAnswer(writes[0])
	if err != nil {
		t.Fatalf("flight: got %v, want one that reads like a server's", err)
	}
	return a, writes[0]
}

func TestFlight(t *testing.T) {
	sizes := []int{3000}
	const pq, x = hello.GroupX25519MLKEM768, hello.GroupX25519
	for _, tt := range []struct {
		name  string
		cover Cover
		shape Shape
		want  answer
	}{
		{"a server of today", Cover{CipherSuite: 0x1302, Group: pq, Sizes: sizes}, Chrome,
			answer{suite: 0x1302, group: pq, size: 3000}},
		{"to a client of today on Apple's", Cover{Group: pq, Sizes: sizes}, Safari,
			answer{suite: 0x1302, group: pq, size: 3000}},
		{"to an old client", Cover{CipherSuite: 0x1303, Group: pq, Sizes: sizes}, Classic,
			answer{suite: 0x1303, group: x, size: 3000}},
		{"a server without post-quantum keys", Cover{CipherSuite: 0x1301, Group: x, Sizes: sizes}, Chrome,
			answer{suite: 0x1301, group: x, size: 3000}},
		{"the client's order", Cover{Group: x, Sizes: sizes}, Chrome,
			answer{suite: 0x1301, group: x, size: 3000}},
		{"a suite nobody offers", Cover{CipherSuite: 0x1305, Group: 0x18, Sizes: sizes}, Chrome,
			answer{suite: 0x1301, group: x, size: 3000}},
		{"sizes for Apple's, to another", Cover{Sizes: sizes, SafariSizes: []int{3016}}, Chrome,
			answer{suite: 0x1301, group: x, size: 3000}},
		{"sizes for Apple's, to one", Cover{Sizes: sizes, SafariSizes: []int{3016}}, Safari,
			answer{suite: 0x1302, group: x, size: 3016}},
		{"BoringSSL's order", Cover{Group: pq, KeyShareFirst: true, Sizes: sizes}, Chrome,
			answer{suite: 0x1301, group: pq, keyShareFirst: true, size: 3000}},
		{"a long chain", Cover{Sizes: []int{20_000}}, Classic,
			answer{suite: 0x1301, group: x, size: maxFlight + 5}},
		{"next to nothing", Cover{Sizes: []int{1}}, Classic,
			answer{suite: 0x1301, group: x, size: minNoise + 5}},
	} {
		tt.want.records = 1
		if got, _ := answered(t, tt.cover, newHello(tt.shape, testName)); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// serverShare is the key of ours in a flight.
func serverShare(t testing.TB, flight []byte) []byte {
	t.Helper()
	i := bytes.Index(flight, []byte{0, 51})
	for ; i >= 0; i += 1 + bytes.Index(flight[i+1:], []byte{0, 51}) {
		if g := flight[i+4 : i+6]; bytes.Equal(g, []byte{0, 0x1d}) || bytes.Equal(g, []byte{0x11, 0xec}) {
			n := int(flight[i+6])<<8 | int(flight[i+7])
			return flight[i+8 : i+8+n]
		}
	}
	t.Fatal("flight: got no key share, want one")
	return nil
}

// onCurve reports whether a Montgomery u coordinate belongs to Curve25519 and not
// to its twist (RFC 7748): whether u³ + 486662u² + u is a square.
func onCurve(key []byte) bool {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	le := bytes.Clone(key)
	slices.Reverse(le)
	u := new(big.Int).SetBytes(le)
	if u.Cmp(p) >= 0 {
		return false
	}
	y := new(big.Int).Add(u, big.NewInt(486662))
	y.Mul(y, u).Add(y, big.NewInt(1)).Mul(y, u).Mod(y, p)
	return big.Jacobi(y, p) != -1
}

// Random bytes in place of a key would be off the curve half of the time.
func TestKeysAreOnTheCurve(t *testing.T) {
	for range 40 {
		record := newHello(Chrome, testName)
		h, err := hello.Parse(hello.Message(record))
		if err != nil {
			t.Fatalf("our hello: got %v, want nil", err)
		}
		_, flight := answered(t, Cover{Group: hello.GroupX25519MLKEM768, Sizes: []int{100}}, record)
		share := serverShare(t, flight)
		if len(share) != mlkem.CiphertextSize768+32 {
			t.Fatalf("share: got %d bytes, want %d", len(share), mlkem.CiphertextSize768+32)
		}
		for whose, key := range map[string][]byte{
			"ours": share[mlkem.CiphertextSize768:], "client's": h.KeyShare(hello.GroupX25519),
			"client's, beside ML-KEM": h.KeyShare(hello.GroupX25519MLKEM768)[mlkem.EncapsulationKeySize768:],
		} {
			if !onCurve(key) {
				t.Fatalf("%s: got %x, want a point of the curve", whose, key)
			}
		}
	}
}

// The client could use what we send: both agree on a secret.
func TestEncapsulation(t *testing.T) {
	theirs, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	record := newHello(Chrome, testName)
	h, err := hello.Parse(hello.Message(record))
	if err != nil {
		t.Fatalf("our hello: got %v, want nil", err)
	}
	copy(h.KeyShare(hello.GroupX25519MLKEM768), theirs.EncapsulationKey().Bytes())
	var k keys
	b, err := k.appendShare(nil, hello.GroupX25519MLKEM768, &h)
	if err != nil || len(b) != 8+mlkem.CiphertextSize768+32 {
		t.Fatalf("share: got %d bytes and %v, want %d", len(b), err, 8+mlkem.CiphertextSize768+32)
	}
	shared, err := theirs.Decapsulate(b[8 : 8+mlkem.CiphertextSize768])
	if err != nil || !bytes.Equal(shared, k.shared[:]) {
		t.Errorf("ML-KEM: got %x and %v, want %x", shared, err, k.shared)
	}
	own, err := ecdh.X25519().NewPrivateKey(k.own[:])
	if err != nil || !bytes.Equal(own.PublicKey().Bytes(), b[8+mlkem.CiphertextSize768:]) {
		t.Errorf("X25519: got %x and %v, want the key of what was drawn", b[8+mlkem.CiphertextSize768:], err)
	}
}

// A client that sends noise in place of an ML-KEM key gets an X25519 key.
func TestBadKey(t *testing.T) {
	record := newHello(Chrome, testName)
	h, err := hello.Parse(hello.Message(record))
	if err != nil {
		t.Fatalf("our hello: got %v, want nil", err)
	}
	copy(h.KeyShare(hello.GroupX25519MLKEM768), bytes.Repeat([]byte{0xff}, 100))
	if got, _ := answered(t, Cover{Group: hello.GroupX25519MLKEM768, Sizes: []int{100}}, record); got.group != hello.GroupX25519 {
		t.Errorf("group: got %#x, want x25519", got.group)
	}
}

// A server of ours whose cover is not known keeps its size, as a certificate does.
func TestUnknownCover(t *testing.T) {
	for range 20 {
		c := unknownCover()
		least, most := slices.Min(c.Sizes), slices.Max(c.Sizes)
		if most-least > 2 || least < leastUnknown-2 || most > mostUnknown {
			t.Fatalf("sizes: got %v, want one from %d to %d and up to two less", c.Sizes, leastUnknown, mostUnknown)
		}
	}
}

func TestHelloShapes(t *testing.T) {
	sizes := map[Shape][]int{}
	for range 100 {
		for _, shape := range []Shape{Chrome, Safari, Classic} {
			record := newHello(shape, testName)
			h, err := hello.Parse(hello.Message(record))
			if err != nil || string(h.ServerName) != testName || len(h.SessionID) != 32 {
				t.Fatalf("shape %d: got %q, %v, want our name, nil", shape, h.ServerName, err)
			}
			var grease []uint16
			for s := range h.CipherSuites() {
				if hello.IsGREASE(s) {
					grease = append(grease, s)
				}
			}
			if len(grease) != 1 || !h.OffersVersion(hello.VersionTLS13) {
				t.Fatalf("shape %d: got GREASE %v, want one, and TLS 1.3", shape, grease)
			}
			if key := h.KeyShare(hello.GroupX25519MLKEM768); shape != Classic {
				if _, err := mlkem.NewEncapsulationKey768(key[:mlkem.EncapsulationKeySize768]); err != nil {
					t.Fatalf("shape %d: ML-KEM key: got %v, want nil", shape, err)
				}
			}
			if !slices.Contains(sizes[shape], len(record)) {
				sizes[shape] = append(sizes[shape], len(record))
			}
		}
	}
	if got := sizes[Classic]; len(got) != 1 || got[0] != 517 {
		t.Errorf("classic: got sizes %v, want 517", got)
	}
	if got := sizes[Chrome]; len(got) != 4 {
		t.Errorf("chrome: got sizes %v, want four", got)
	}
}
