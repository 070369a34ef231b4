package mtproto

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// needVector skips a test of the assembly on a processor that cannot run it.
func needVector(t testing.TB) {
	t.Helper()
	if !vector {
		t.Skip("this processor has no VAES, or this is no amd64")
	}
}

// withoutVector runs the test as on such a processor.
func withoutVector(t testing.TB) {
	t.Helper()
	before := vector
	t.Cleanup(func() { vector = before })
	vector = false
}

// seedAt is a seed with the counter hi, lo.
func seedAt(r *rand.ChaCha8, hi, lo uint64) (s seed) {
	_, _ = r.Read(s[:])
	binary.BigEndian.PutUint64(s[keySize:], hi)
	binary.BigEndian.PutUint64(s[keySize+8:], lo)
	return s
}

// guarded is what must not be written to around a result.
const guarded = 64

// compare takes pieces of these sizes through a double from position at, and
// through two streams of crypto/cipher, to another place or where they are.
func compare(t testing.TB, a, b seed, at int, r *rand.ChaCha8, sizes []int) {
	t.Helper()
	d, want := newDouble(a, b, at), [2]cipher.Stream{a.stream(at), b.stream(at)}
	if _, ok := d.(*double); !ok {
		t.Fatalf("newDouble: got %T, want a double", d)
	}
	for i, size := range sizes {
		src := make([]byte, guarded+size+guarded)
		_, _ = r.Read(src)
		dst := src
		if i%2 == 0 {
			dst = make([]byte, len(src)+i%32)[i%32:]
			copy(dst, src)
		}
		exp := bytes.Clone(src)
		in := exp[guarded : guarded+size]
		want[0].XORKeyStream(in, in)
		want[1].XORKeyStream(in, in)
		said := bytes.Clone(src)
		d.XORKeyStream(dst[guarded:], src[guarded:guarded+size])
		if !bytes.Equal(dst, exp) {
			t.Fatalf("piece %d of %v from %d, counters %x and %x: got % x, want % x", i, sizes, at, a[keySize:], b[keySize:], dst, exp)
		}
		if i%2 == 0 && !bytes.Equal(src, said) {
			t.Fatalf("piece %d of %v: got a changed input", i, sizes)
		}
	}
}

// Every position in a block, with every length of up to two groups and a bit.
func TestDoubleLengths(t *testing.T) {
	needVector(t)
	r := rand.NewChaCha8([32]byte{1})
	a, b := seedAt(r, 1, 2), seedAt(r, 3, 4)
	for at := range 16 {
		for size := range 2*groupSize + 20 {
			compare(t, a, b, at, r, []int{size, size})
		}
	}
}

func TestDoubleSplits(t *testing.T) {
	needVector(t)
	r := rand.NewChaCha8([32]byte{2})
	random := rand.New(r)
	for range 300 {
		var sizes []int
		for range 1 + random.IntN(20) {
			sizes = append(sizes, random.IntN([]int{17, 300, 3000, 70_000}[random.IntN(4)]))
		}
		compare(t, seedAt(r, r.Uint64(), r.Uint64()), seedAt(r, r.Uint64(), r.Uint64()), random.IntN(frameSize+1), r, sizes)
	}
}

// Counters that run over, of either stream or both, at every block of the first
// groups and in the middle of bulk.
func TestDoubleCarry(t *testing.T) {
	needVector(t)
	r := rand.NewChaCha8([32]byte{3})
	for before := range uint64(3 * groupBlocks) {
		for _, hi := range []uint64{7, math.MaxUint64} {
			last, far := seedAt(r, hi, math.MaxUint64-before), seedAt(r, hi, 5)
			for _, s := range [][2]seed{{last, far}, {far, last}, {last, seedAt(r, 9, math.MaxUint64-before)}} {
				for _, sizes := range [][]int{{groupSize * 4}, {5, 16, 100, 16, 300}, {1, 1, 1, 20_000, 3}, slices.Repeat([]int{7}, 60)} {
					compare(t, s[0], s[1], 0, r, sizes)
				}
			}
		}
	}
	for _, before := range []uint64{200, 1000, 1023, 1024, 1025, 4000} {
		compare(t, seedAt(r, 7, math.MaxUint64-before), seedAt(r, 7, 7), 3, r, []int{1000, 16 << 10, 16 << 10, 9, 64 << 10})
	}
}

// A connection whose counter has not come to its carry is not slowed down.
func TestDoubleRest(t *testing.T) {
	needVector(t)
	const least = 1000
	for lo, want := range map[uint64]bool{0: false, math.MaxUint64 - least: false, math.MaxUint64 - 3: true} {
		r := rand.NewChaCha8([32]byte{4})
		d := newDouble(seedAt(r, 1, 0), seedAt(r, 1, lo), 0).(*double)
		b := make([]byte, groupSize)
		d.XORKeyStream(b, b)
		if got := d.rest != nil; got != want {
			t.Errorf("counter at %x: got crypto/cipher %t, want %t", lo, got, want)
		}
	}
}

// A double that is given less room than it needs says so like crypto/cipher, and
// does not write behind it.
func TestDoubleShort(t *testing.T) {
	needVector(t)
	defer func() {
		if recover() == nil {
			t.Error("a result longer than its place: got no panic, want one")
		}
	}()
	r := rand.NewChaCha8([32]byte{5})
	newDouble(seedAt(r, 1, 1), seedAt(r, 1, 1), 0).XORKeyStream(make([]byte, groupSize-1), make([]byte, groupSize))
}

// FuzzDouble takes bytes in two pieces through both streams, with keys and
// counters of the fuzzer's.
func FuzzDouble(f *testing.F) {
	needVector(f)
	high := bytes.Repeat([]byte{0xff}, seedEnd-seedStart)
	f.Add([]byte("one"), []byte("two"), bytes.Repeat([]byte("payload "), 50), 21, 3)
	f.Add(high, []byte{}, bytes.Repeat([]byte("payload "), 70), 16, 0)
	f.Add([]byte{}, high, bytes.Repeat([]byte("payload "), 70), 128, 64)
	f.Add(high, high, []byte{}, 0, 15)
	f.Fuzz(func(t *testing.T, one, two, text []byte, cut, at int) {
		if len(text) > 8<<10 {
			return
		}
		var a, b seed
		copy(a[:], one)
		copy(b[:], two)
		at &= frameSize - 1
		cut = min(max(0, cut), len(text))
		want := bytes.Clone(text)
		for _, s := range []seed{a, b} {
			s.stream(at).XORKeyStream(want, want)
		}
		got := make([]byte, len(text))
		d := newDouble(a, b, at)
		d.XORKeyStream(got, text[:cut])
		d.XORKeyStream(got[cut:], text[cut:])
		if !bytes.Equal(got, want) {
			t.Errorf("seeds %x and %x from %d, cut at %d: got % x, want % x", a, b, at, cut, got, want)
		}
	})
}

// BenchmarkDouble is a message, a record of Telegram's clients, and bulk.
func BenchmarkDouble(b *testing.B) {
	for _, size := range []int{40, 200, 2878, 16 << 10} {
		for _, fast := range []bool{true, false} {
			b.Run(fmt.Sprintf("%d bytes, vector %t", size, fast), func(b *testing.B) {
				if fast {
					needVector(b)
				} else {
					withoutVector(b)
				}
				r := rand.NewChaCha8([32]byte{6})
				s := newDouble(seedAt(r, 1, 1), seedAt(r, 1, 1), 0)
				src, dst := make([]byte, size), make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					s.XORKeyStream(dst, src)
				}
			})
		}
	}
}
