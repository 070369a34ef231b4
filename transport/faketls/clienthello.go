package faketls

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"time"

	"relay/transport/hello"
)

// Shape is one of the hellos that Telegram's clients send.
type Shape int

// The shapes.
const (
	// Chrome is what tdlib sends since 2026, as Chrome does: post-quantum and
	// classical key shares, GREASE, an encrypted ClientHello that is noise, and
	// extensions in random order. About 1,800 bytes.
	Chrome Shape = iota
	// Safari is what tdlib sends on Apple's systems: another order of cipher
	// suites, and extensions in a fixed one.
	Safari
	// Classic is what clients sent until 2025: 517 bytes and no post-quantum key.
	Classic
)

// Hello returns a record with a ClientHello for a server name, which proves the
// key at a time. Every one is different.
func Hello(shape Shape, name string, key *[16]byte, at time.Time) []byte {
	record := newHello(shape, name)
	sign(record, key, at)
	return record
}

// sign writes the digest with the time over the random (SPEC.md, "Client hello").
func sign(record []byte, key *[16]byte, at time.Time) {
	random := record[randomBegin:randomEnd]
	clear(random)
	v := newVisit()
	copy(random, v.mac.sum(key, record, nil)[:])
	stamp := random[proofSize:]
	binary.LittleEndian.PutUint32(stamp, binary.LittleEndian.Uint32(stamp)^uint32(at.Unix()))
}

// newHello returns a hello whose random is only that.
func newHello(shape Shape, name string) []byte {
	var g grease
	_, _ = rand.Read(g[:]) // never fails (crypto/rand)
	b := []byte{typeHandshake, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3}
	b = appendRandom(b, randomSize)
	b = append(b, 32)
	b = appendRandom(b, 32)
	b = vector(b, func(b []byte) []byte {
		b = g.append(b, 0)
		for _, suite := range suites[shape] {
			b = binary.BigEndian.AppendUint16(b, suite)
		}
		return b
	})
	b = append(b, 1, 0)
	b = vector(b, func(b []byte) []byte {
		b = append(g.append(b, 2), 0, 0)
		all := extensions(shape, name, &g)
		if shape != Safari {
			mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		}
		for _, e := range all {
			b = binary.BigEndian.AppendUint16(b, e.kind)
			b = vector(b, func(b []byte) []byte { return append(b, e.body...) })
		}
		b = append(g.append(b, 3), 0, 1, 0)
		// Old servers choke on hellos of 256 to 511 bytes (RFC 7685).
		if short := 517 - len(b) - 4; short > 0 {
			b = append(b, 0, extPadding, byte(short>>8), byte(short))
			b = append(b, make([]byte, short)...)
		}
		return b
	})
	binary.BigEndian.PutUint16(b[3:], uint16(len(b)-recordHeader))
	binary.BigEndian.PutUint16(b[7:], uint16(len(b)-recordHeader-4))
	return b
}

var suites = map[Shape][]uint16{
	Chrome: {
		0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
		0x009c, 0x009d, 0x002f, 0x0035,
	},
	Safari: {
		0x1302, 0x1301, 0x1303, 0xc02c, 0xc030, 0xc02b, 0xcca9, 0xc02f, 0xcca8, 0xc00a, 0xc009,
		0xc014, 0xc013,
	},
	Classic: {
		0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
		0x009c, 0x009d, 0x002f, 0x0035,
	},
}

const extPadding = 21

type extension struct {
	kind uint16
	body []byte
}

func extensions(shape Shape, name string, g *grease) []extension {
	serverName := vector(nil, func(b []byte) []byte {
		return vector(append(b, 0), func(b []byte) []byte { return append(b, name...) })
	})
	groups := vector(nil, func(b []byte) []byte {
		b = g.append(b, 4)
		if shape != Classic {
			b = append(b, 0x11, 0xec)
		}
		return append(b, 0, 0x1d, 0, 0x17, 0, 0x18)
	})
	compress := []byte{2, 0, 2} // brotli
	if shape == Safari {
		compress = []byte{2, 0, 1} // zlib
	}
	all := []extension{
		{0, serverName},
		{23, nil}, // extended_master_secret
		{0xff01, []byte{0}},
		{10, groups},
		{11, []byte{1, 0}},
		{16, []byte("\x00\x0c\x02h2\x08http/1.1")},
		{5, []byte{1, 0, 0, 0, 0}},
		{13, []byte{0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1}},
		{18, nil},
		{extKeyShare, keyShares(shape, g)},
		{45, []byte{1, 1}},
		{extSupportedVersions, append(g.append([]byte{6}, 6), 3, 4, 3, 3)},
		{27, compress},
	}
	if shape != Safari {
		all = append(all, extension{35, nil})
	}
	if shape == Chrome {
		all = append(all, extension{0x44cd, []byte("\x00\x03\x02h2")}, extension{0xfe0d, encryptedHello()})
	}
	return all
}

// keyShares are real keys: random bytes in their place give a hello away.
func keyShares(shape Shape, g *grease) []byte {
	return vector(nil, func(b []byte) []byte {
		b = append(g.append(b, 4), 0, 1, 0)
		if shape != Classic {
			b = binary.BigEndian.AppendUint16(b, hello.GroupX25519MLKEM768)
			b = vector(b, func(b []byte) []byte {
				// Neither call fails: crypto/rand does not.
				if kem, err := mlkem.GenerateKey768(); err == nil {
					b = append(b, kem.EncapsulationKey().Bytes()...)
				}
				return appendX25519(b)
			})
		}
		b = binary.BigEndian.AppendUint16(b, hello.GroupX25519)
		return vector(b, appendX25519)
	})
}

func appendX25519(b []byte) []byte {
	if key, err := ecdh.X25519().GenerateKey(rand.Reader); err == nil {
		b = append(b, key.PublicKey().Bytes()...)
	}
	return b
}

// encryptedHello is what Chrome sends to servers whose key it does not know: noise
// of one of four lengths.
func encryptedHello() []byte {
	b := appendRandom([]byte{0, 0, 1, 0, 1}, 1)
	b = appendRandom(append(b, 0, 32), 32)
	return vector(b, func(b []byte) []byte { return appendRandom(b, 144+32*mathrand.IntN(4)) })
}

// grease are the random numbers of one hello (RFC 8701).
type grease [8]byte

func (g *grease) append(b []byte, i int) []byte {
	n := g[i]&0xf0 | 0x0a
	if i%2 == 1 && n == g[i-1]&0xf0|0x0a {
		n ^= 0x10 // two of a kind must differ
	}
	return append(b, n, n)
}

func appendRandom(b []byte, n int) []byte {
	b = append(b, make([]byte, n)...)
	_, _ = rand.Read(b[len(b)-n:])
	return b
}

// vector appends what f appends, behind its length in two bytes.
func vector(b []byte, f func([]byte) []byte) []byte {
	begin := len(b)
	b = f(append(b, 0, 0))
	binary.BigEndian.PutUint16(b[begin:], uint16(len(b)-begin-2))
	return b
}
