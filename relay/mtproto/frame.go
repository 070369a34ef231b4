package mtproto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"slices"
)

const (
	frameSize = 64
	seedStart = 8 // key material and IV
	seedEnd   = 56
	tagAt     = 56
	dcAt      = 60
	keySize   = 32
	lastBlock = tagAt - tagAt%aes.BlockSize
)

// The tags (tdlib, td/mtproto/TcpTransport.cpp).
const (
	tagAbridged     = 0xefefefef
	tagIntermediate = 0xeeeeeeee
	tagPadded       = 0xdddddddd
)

// frame is the frame that opens a link, as it is on the wire.
type frame [frameSize]byte

// seed is the key material and the IV of one direction.
type seed [seedEnd - seedStart]byte

// seed returns the one of the direction in which the frame goes.
func (f *frame) seed() seed { return seed(f[seedStart:seedEnd]) }

// reversed returns the one of the other direction.
func (s seed) reversed() seed {
	slices.Reverse(s[:])
	return s
}

// keyed returns s with the key that a secret makes of the material.
func (s seed) keyed(secret *[SecretSize]byte) seed {
	key := hash(s[:keySize], secret)
	copy(s[:keySize], key[:])
	return s
}

func hash(material []byte, secret *[SecretSize]byte) [keySize]byte {
	var b [keySize + SecretSize]byte
	copy(b[:], material)
	copy(b[keySize:], secret[:])
	return sha256.Sum256(b[:])
}

// stream returns the key stream from position at.
func (s seed) stream(at int) cipher.Stream {
	block, err := aes.NewCipher(s[:keySize])
	if err != nil {
		panic(err) // the key is 32 bytes long
	}
	ctr := cipher.NewCTR(block, s[keySize:])
	var skip [frameSize]byte
	ctr.XORKeyStream(skip[:at], skip[:at])
	return ctr
}

// block encrypts or decrypts the last block of a frame, the one with the tag; to
// and from may be the same. A stream for it costs twice the time and garbage.
func (s seed) block(to, from []byte) {
	block, err := aes.NewCipher(s[:keySize])
	if err != nil {
		panic(err) // the key is 32 bytes long
	}
	counter := s.counter(lastBlock / aes.BlockSize)
	var key [aes.BlockSize]byte
	block.Encrypt(key[:], counter[:])
	subtle.XORBytes(to, from, key[:])
}

// counter returns the IV, blocks further on.
func (s seed) counter(blocks int) (c [aes.BlockSize]byte) {
	hi, lo := binary.BigEndian.Uint64(s[keySize:]), binary.BigEndian.Uint64(s[keySize+8:])
	lo, carry := bits.Add64(lo, uint64(blocks), 0)
	binary.BigEndian.PutUint64(c[:], hi+carry)
	binary.BigEndian.PutUint64(c[8:], lo)
	return c
}

// trial looks for the secret that a frame was made with.
type trial struct {
	frame   frame
	counter [aes.BlockSize]byte // of the block with the tag
	plain   [aes.BlockSize]byte // of that block; here, as it would be garbage for each secret
}

func newTrial(f *frame) *trial {
	return &trial{frame: *f, counter: f.seed().counter(tagAt / aes.BlockSize)}
}

// with returns what the frame says if it was made with secret: for any other
// one, that is noise. One SHA-256 and one block of AES: about 450 ns on a core of
// a cloud VM, and 512 bytes of garbage, the round keys, which crypto/aes puts on
// the heap.
func (t *trial) with(secret *[SecretSize]byte) (tag uint32, id int16) {
	key := hash(t.frame[seedStart:seedStart+keySize], secret)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key is 32 bytes long
	}
	plain := t.plain[:]
	block.Encrypt(plain, t.counter[:])
	subtle.XORBytes(plain, plain, t.frame[lastBlock:])
	return binary.LittleEndian.Uint32(plain[tagAt-lastBlock:]), int16(binary.LittleEndian.Uint16(plain[dcAt-lastBlock:]))
}

// toDC returns the frame for a data centre, and the seed of what goes on behind
// it. down is what the data centre is to encrypt with towards us.
func toDC(tag uint32, id int16, down seed) (wire frame, up seed) {
	up = down.reversed()
	copy(wire[seedStart:], up[:])
	// Nothing but these eight bytes is free: the rest follows from down.
	for ok := false; !ok; ok = allowedFirst(wire[:]) {
		_, _ = rand.Read(wire[:seedStart]) // never fails (crypto/rand)
	}
	last := wire
	binary.LittleEndian.PutUint32(last[tagAt:], tag)
	binary.LittleEndian.PutUint16(last[dcAt:], uint16(id))
	_, _ = rand.Read(last[dcAt+2:])
	up.block(last[lastBlock:], last[lastBlock:])
	copy(wire[tagAt:], last[tagAt:])
	return wire, up
}

// drawn returns a seed that nobody knows.
func drawn() (s seed) {
	_, _ = rand.Read(s[:]) // never fails (crypto/rand)
	return s
}

// allowedFirst reports whether a frame may begin with these bytes. Clients draw
// again what a server, or somebody on the way, could take for another protocol:
// abridged and intermediate framing without obfuscation, HTTP, and a TLS record
// (tdlib, td/mtproto/TcpTransport.cpp).
func allowedFirst(b []byte) bool {
	if b[0] == 0xef {
		return false
	}
	switch string(b[:4]) {
	case "HEAD", "POST", "GET ", "OPTI", "\xdd\xdd\xdd\xdd", "\xee\xee\xee\xee", "\x16\x03\x01\x02":
		return false
	}
	return binary.LittleEndian.Uint32(b[4:]) != 0
}
