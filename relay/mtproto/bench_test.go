package mtproto

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

// BenchmarkTrial is the price of one candidate: of each, for a stranger.
func BenchmarkTrial(b *testing.B) {
	f := frame(frameOnly(1, nil, tagPadded, 2))
	key := ring(1).keys[0]
	t := newTrial(&f)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = t.with(&key)
	}
}

// BenchmarkOpen is an opening whose user is the last candidate.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("%d candidates", n), func(b *testing.B) {
			keys := &quick{keyring: ring(n)}
			in := inside(keys)
			opening := frameOnly(1, keys.key("alice"), tagPadded, 2)
			client, server := relaytest.Pipe()
			defer client.Close()
			defer server.Close()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = client.Write(opening)
				if _, err := in.Open(b.Context(), auth.User{}, transport.NewPeeked(server)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStranger is noise on the wire, tried against 256 keys.
func BenchmarkStranger(b *testing.B) {
	in := wire(&quick{keyring: ring(256)})
	p, _, _ := said(b, frameOnly(1, nil, tagPadded, 2))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Open(b.Context(), auth.User{}, p); err != transport.ErrNotOurs {
			b.Fatal(err)
		}
	}
}

// quick is a keyring without the checks.
type quick struct{ *keyring }

func (k *quick) Candidates(_ string, _ netip.Addr, yield func(auth.User, *[SecretSize]byte) bool) {
	for i := range k.users {
		if !yield(k.users[i], &k.keys[i]) {
			return
		}
	}
}

func (k *quick) Proved(netip.Addr, auth.User) {}

// BenchmarkAccept is what a connection costs once its user is known.
func BenchmarkAccept(b *testing.B) {
	f := frame(frameOnly(1, nil, tagPadded, 2))
	key := ring(1).keys[0]
	for _, reencrypt := range []bool{false, true} {
		b.Run(fmt.Sprintf("reencrypt %t", reencrypt), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = newCodec(&f, &key, tagPadded, 2, reencrypt)
			}
		})
	}
}

// BenchmarkHeld is what a codec holds for an idle connection.
func BenchmarkHeld(b *testing.B) {
	f := frame(frameOnly(1, nil, tagPadded, 2))
	key := ring(1).keys[0]
	for _, reencrypt := range []bool{false, true} {
		b.Run(fmt.Sprintf("reencrypt %t", reencrypt), func(b *testing.B) {
			const n = 10_000
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				all := make([]*codec, n)
				for i := range all {
					all[i] = newCodec(&f, &key, tagPadded, 2, reencrypt)
					_, _ = all[i].Decode(nil, f[:1])
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/conn")
				runtime.KeepAlive(all)
			}
		})
	}
}

// BenchmarkCodec is 16 KiB in each direction.
func BenchmarkCodec(b *testing.B) {
	f := frame(frameOnly(1, nil, tagPadded, 2))
	key := ring(1).keys[0]
	for _, reencrypt := range []bool{false, true} {
		c := newCodec(&f, &key, tagPadded, 2, reencrypt)
		data, dst := make([]byte, 16<<10), make([]byte, 0, 20<<10)
		_, _ = c.Decode(dst, data[:1])
		for name, f := range map[string]func(dst, b []byte) ([]byte, error){"up": c.Decode, "down": c.Encode} {
			b.Run(fmt.Sprintf("%s, reencrypt %t", name, reencrypt), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := f(dst, data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// What moves allocates nothing, and a stranger costs one allocation for each
// key, which is crypto/aes's.
func TestAllocations(t *testing.T) {
	f := frame(frameOnly(1, nil, tagPadded, 2))
	keys := &quick{keyring: ring(256)}
	data, dst := make([]byte, 1000), make([]byte, 0, 2000)
	for _, reencrypt := range []bool{false, true} {
		c := newCodec(&f, &keys.keys[0], tagPadded, 2, reencrypt)
		_, _ = c.Decode(dst, data[:1])
		if n := testing.AllocsPerRun(100, func() { _, _ = c.Decode(dst, data); _, _ = c.Encode(dst, data) }); n > 0 {
			t.Errorf("codec, reencrypt %t: got %v allocations, want none", reencrypt, n)
		}
	}
	in := wire(keys)
	p, _, _ := said(t, f[:])
	if n := testing.AllocsPerRun(100, func() { _, _ = in.Open(t.Context(), auth.User{}, p) }); n > 256+8 {
		t.Errorf("stranger: got %v allocations for 256 candidates, want one each and a few", n)
	}
}
