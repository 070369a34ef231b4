package mtproto

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// newDouble returns one stream for two, both from position at: one takes an
// encryption off, the other puts the next one on.
func newDouble(a, b seed, at int) cipher.Stream {
	if !vector {
		return &chain{a.stream(at), b.stream(at)}
	}
	d := &double{used: uint8(at % aes.BlockSize)}
	for i, s := range []seed{a, b} {
		copy(d.keys[i][:], s[:keySize])
		t := s.counter(at / aes.BlockSize)
		d.next[i] = [2]uint64{binary.BigEndian.Uint64(t[8:]), binary.BigEndian.Uint64(t[:])}
	}
	return d
}

// chain is two streams with a pass of crypto/cipher for each.
type chain [2]cipher.Stream

// XORKeyStream implements cipher.Stream.
func (c *chain) XORKeyStream(dst, src []byte) {
	c[0].XORKeyStream(dst, src)
	dst = dst[:len(src)]
	c[1].XORKeyStream(dst, dst)
}

const (
	groupBlocks = 8 // as many as hide the latency of VAESENC
	groupSize   = groupBlocks * aes.BlockSize
)

// schedule is the round keys of both streams side by side, as one instruction
// takes them.
type schedule [15][2][aes.BlockSize]byte

// double is two streams in one pass, in assembly (double_amd64.s). Round keys are
// made anew for each call, which takes 16 ns, so that an idle connection holds two
// keys, and not two schedules: with crypto/cipher they are a kilobyte.
type double struct {
	keys [2][keySize]byte
	next [2][2]uint64 // the counter of the first block that is not used up, low half first
	used uint8        // bytes of that block
	rest *chain       // instead of all that, once a counter has come to its carry
}

// XORKeyStream implements cipher.Stream. dst and src are the same memory, or
// share none.
func (d *double) XORKeyStream(dst, src []byte) {
	if d.rest == nil && d.carries(len(src)) {
		d.rest = &chain{d.stream(0), d.stream(1)}
	}
	if d.rest != nil {
		d.rest.XORKeyStream(dst, src)
		return
	}
	dst = dst[:len(src)]
	var keys schedule
	expand(&keys, &d.keys)
	for len(src) > 0 {
		var n int
		if d.used == 0 && len(src) >= groupSize {
			n = len(src) / groupSize * groupSize
			xorGroups(&dst[0], &src[0], n/groupSize, &keys, &d.next)
		} else {
			// What begins or ends inside of a group.
			var part [groupSize]byte
			n = copy(part[d.used:], src)
			xorGroups(&part[0], &part[0], 1, &keys, &d.next)
			copy(dst, part[d.used:][:n])
		}
		d.advance(n)
		dst, src = dst[n:], src[n:]
	}
}

func (d *double) advance(n int) {
	n += int(d.used)
	for i := range d.next {
		d.next[i][0] += uint64(n / aes.BlockSize)
	}
	d.used = uint8(n % aes.BlockSize)
}

// carries reports whether the low half of a counter may run over within the next
// n bytes, which xorGroups cannot do. A client chooses where his counter begins; by
// chance it happens once in 2^67 bytes.
func (d *double) carries(n int) bool {
	blocks := uint64(n)/aes.BlockSize + 2*groupBlocks
	return d.next[0][0]+blocks < blocks || d.next[1][0]+blocks < blocks
}

// stream returns one of the two, from here on.
func (d *double) stream(i int) cipher.Stream {
	var s seed
	copy(s[:], d.keys[i][:])
	binary.BigEndian.PutUint64(s[keySize:], d.next[i][1])
	binary.BigEndian.PutUint64(s[keySize+8:], d.next[i][0])
	return s.stream(int(d.used))
}
