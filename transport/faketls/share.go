package faketls

import (
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rand"
	"math/big"
	"slices"
)

// A key share must look like a real server's to who cannot check it: nobody
// holds the other half. What is drawn here has the distribution of real ones at
// a part of their price, which is most of what a handshake costs.

const (
	mlkemPrime   = 3329
	mlkemCoeffs  = 3*256 + 256 // of a ciphertext: the vector u, and v
	mlkemU       = 3 * 256
	mlkemBitsU   = 10 // that FIPS 203 leaves of a coefficient of u, Table 2
	mlkemBitsV   = 4
	mlkemKeyRest = 32 // the seed behind the coefficients of a key
)

var (
	one           = big.NewInt(1)
	curve25519, _ = new(big.Int).SetString("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed", 16)
)

// drawX25519 appends a public key of X25519. Those of Ed25519 are the same points
// in other coordinates (RFC 7748, Section 4.1), and crypto/ed25519 has tables for
// multiples of the base, which crypto/ecdh does without.
func drawX25519(b []byte) ([]byte, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	return append(b, montgomery(ed25519.NewKeyFromSeed(seed[:])[ed25519.SeedSize:])...), nil
}

// montgomery returns the u of a point with the Edwards y, whose sign is in the
// last bit: (1+y)/(1-y).
func montgomery(point []byte) []byte {
	y := slices.Clone(point)
	y[len(y)-1] &= 0x7f
	slices.Reverse(y)
	v := new(big.Int).SetBytes(y)
	u := new(big.Int).Add(one, v)
	v.Sub(one, v).Mod(v, curve25519)
	u.Mul(u, v.ModInverse(v, curve25519)).Mod(u, curve25519).FillBytes(y)
	slices.Reverse(y)
	return y
}

// validMLKEM is the check of an encapsulation key (FIPS 203, Section 7.2), with
// which a server begins: every coefficient is reduced.
func validMLKEM(key []byte) bool {
	if len(key) != mlkem.EncapsulationKeySize768 {
		return false
	}
	key = key[:len(key)-mlkemKeyRest]
	for i := 0; i < len(key); i += 3 {
		x := uint16(key[i]) | uint16(key[i+1]&0xf)<<8
		y := uint16(key[i+1])>>4 | uint16(key[i+2])<<4
		if x >= mlkemPrime || y >= mlkemPrime {
			return false
		}
	}
	return true
}

// drawMLKEM appends a ciphertext of ML-KEM-768. Its coefficients are rounded to
// few bits, and to whoever lacks the decapsulation key they are uniform ones
// before that: this is the assumption that ML-KEM rests on. Rounding makes some
// values a third likelier than others, so bytes at random would not do.
func drawMLKEM(b []byte) ([]byte, error) {
	var draw [3 * 64]byte
	left := draw[:0]
	var bits, have uint32
	for n := 0; n < mlkemCoeffs; {
		if len(left) == 0 {
			if _, err := rand.Read(draw[:]); err != nil {
				return nil, err
			}
			left = draw[:]
		}
		for _, x := range [2]uint32{uint32(left[0]) | uint32(left[1]&0xf)<<8, uint32(left[1])>>4 | uint32(left[2])<<4} {
			if x >= mlkemPrime || n == mlkemCoeffs {
				continue
			}
			d := uint32(mlkemBitsU)
			if n >= mlkemU {
				d = mlkemBitsV
			}
			n++
			bits |= ((x<<d + mlkemPrime/2) / mlkemPrime) & (1<<d - 1) << have
			for have += d; have >= 8; have -= 8 {
				b = append(b, byte(bits))
				bits >>= 8
			}
		}
		left = left[3:]
	}
	return b, nil
}
