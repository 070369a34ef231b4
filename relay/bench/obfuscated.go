package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"

	"relay/transport"
	"relay/transport/faketls"
)

// Telegram's obfuscated2: a frame of 64 bytes gives two key streams of
// AES-256-CTR, one each way, and everything is encrypted with them.
const (
	frameSize  = 64
	frameBegin = 8  // of the key material, and the IV behind it
	frameKey   = 40 // end of the key material
	frameEnd   = 56
	frameTag   = 56
	frameDC    = 60

	tagPadded       = 0xdddddddd
	tagIntermediate = 0xeeeeeeee
	tagAbridged     = 0xefefefef

	// loadDC is the data centre that the load asks for.
	loadDC = 2
)

// fakeSecret is a user's secret for FakeTLS.
type fakeSecret struct {
	key  [16]byte
	name string
}

// parseSecret reads the secret of a link: ee, the key, and a server name.
func parseSecret(text string) (fakeSecret, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) < 18 || b[0] != 0xee {
		return fakeSecret{}, errors.New("secret: want ee, 16 bytes of key and a server name, in hex")
	}
	return fakeSecret{[16]byte(b[1:]), string(b[17:])}, nil
}

// obfuscated is a connection inside of obfuscated2.
type obfuscated struct {
	net.Conn
	frame   []byte // goes ahead of the first bytes
	in, out cipher.Stream
	scratch []byte
}

// dialMTProto does a client's FakeTLS handshake on c, which stays the caller's,
// and returns the connection inside.
func dialMTProto(c transport.Conn, s fakeSecret) (net.Conn, error) {
	inside, err := faketls.Client(c, s.name, s.key, faketls.ClientOptions{})
	if err != nil {
		return nil, err
	}
	var plain [frameSize]byte
	if _, err := rand.Read(plain[:]); err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(plain[frameTag:], tagPadded)
	binary.LittleEndian.PutUint16(plain[frameDC:], loadDC)
	wire := plain
	out := frameStream(wire[frameBegin:frameEnd], s.key[:])
	out.XORKeyStream(plain[:], plain[:])
	copy(wire[frameTag:], plain[frameTag:])
	return &obfuscated{Conn: inside, frame: wire[:], out: out, in: frameStream(reversed(wire[frameBegin:frameEnd]), s.key[:])}, nil
}

// acceptObfuscated returns the connection inside of c, from which wire has been
// read, as a data centre sees it: the keys are used as they are.
func acceptObfuscated(c net.Conn, wire []byte) (net.Conn, error) {
	in := frameStream(wire[frameBegin:frameEnd], nil)
	plain := make([]byte, frameSize)
	in.XORKeyStream(plain, wire)
	switch tag := binary.LittleEndian.Uint32(plain[frameTag:]); tag {
	case tagPadded, tagIntermediate, tagAbridged:
	default:
		return nil, fmt.Errorf("obfuscated2: got tag %08x, want one of the three", tag)
	}
	return &obfuscated{Conn: c, in: in, out: frameStream(reversed(wire[frameBegin:frameEnd]), nil)}, nil
}

// frameStream is the key stream that material and IV make with a user's key;
// without one, the material is the key.
func frameStream(seed, key []byte) cipher.Stream {
	material := seed[:frameKey-frameBegin]
	if key != nil {
		sum := sha256.Sum256(slices.Concat(material, key))
		material = sum[:]
	}
	block, err := aes.NewCipher(material)
	if err != nil {
		panic(err) // it is 32 bytes long
	}
	return cipher.NewCTR(block, seed[frameKey-frameBegin:])
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// Read implements net.Conn.
func (o *obfuscated) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	o.in.XORKeyStream(b[:n], b[:n])
	return n, err
}

// Write implements net.Conn. b is not changed.
func (o *obfuscated) Write(b []byte) (int, error) {
	o.scratch = append(o.scratch[:0], o.frame...)
	skip := len(o.scratch)
	o.scratch = append(o.scratch, b...)
	o.out.XORKeyStream(o.scratch[skip:], o.scratch[skip:])
	o.frame = nil
	n, err := o.Conn.Write(o.scratch)
	return max(n-skip, 0), err
}
