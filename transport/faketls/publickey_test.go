package faketls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"testing"
)

// TestPublicKey compares with the standard library.
func TestPublicKey(t *testing.T) {
	check := func(private *[keySize]byte) {
		t.Helper()
		key, err := ecdh.X25519().NewPrivateKey(private[:])
		if err != nil {
			t.Fatal(err)
		}
		var public [keySize]byte
		if publicKey(&public, private); !bytes.Equal(public[:], key.PublicKey().Bytes()) {
			t.Errorf("%x: got %x, want %x", private[:], public[:], key.PublicKey().Bytes())
		}
	}
	// Every digit in every place, with and without a carry.
	for digit := range 256 {
		check((*[keySize]byte)(bytes.Repeat([]byte{byte(digit)}, keySize)))
		for place := range keySize {
			var private [keySize]byte
			private[place] = byte(digit)
			check(&private)
		}
	}
	for range 1000 {
		var private [keySize]byte
		_, _ = rand.Read(private[:]) // never fails (crypto/rand)
		check(&private)
	}
}

func BenchmarkPublicKey(b *testing.B) {
	var private, public [keySize]byte
	_, _ = rand.Read(private[:]) // never fails (crypto/rand)
	b.ReportAllocs()
	for b.Loop() {
		publicKey(&public, &private)
	}
}
