package faketls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha512"
	"math"
	"testing"
)

// TestMontgomery makes keys both ways.
func TestMontgomery(t *testing.T) {
	for i := range 100 {
		seed := bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize)
		scalar := sha512.Sum512(seed)
		key, err := ecdh.X25519().NewPrivateKey(scalar[:32])
		if err != nil {
			t.Fatal(err)
		}
		got := montgomery(ed25519.NewKeyFromSeed(seed)[ed25519.SeedSize:])
		if want := key.PublicKey().Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: got % x, want % x", i, got, want)
		}
	}
	a, err := drawX25519([]byte("before"))
	if err != nil || len(a) != 6+32 {
		t.Fatalf("got %d bytes and %v, want 32 behind what was there", len(a), err)
	}
}

func TestValidMLKEM(t *testing.T) {
	key, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	good := key.EncapsulationKey().Bytes()
	if !validMLKEM(good) || validMLKEM(good[1:]) || validMLKEM(nil) {
		t.Error("got a wrong verdict on a key, or on a part of one")
	}
	for range 2000 { // one byte changed, as crypto/mlkem sees it
		var r [3]byte
		_, _ = rand.Read(r[:])
		b := bytes.Clone(good)
		b[(int(r[0])<<8|int(r[1]))%len(b)] |= r[2]
		_, err := mlkem.NewEncapsulationKey768(b)
		if got, want := validMLKEM(b), err == nil; got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// histogram counts the values of the coefficients of ciphertexts.
func histogram(ciphertexts [][]byte) (u [1 << mlkemBitsU]float64, v [1 << mlkemBitsV]float64) {
	for _, c := range ciphertexts {
		for i := range mlkemU {
			at := i * mlkemBitsU
			u[(int(c[at/8])|int(c[at/8+1])<<8)>>(at%8)&(1<<mlkemBitsU-1)]++
		}
		for _, b := range c[mlkemU*mlkemBitsU/8:] {
			v[b&0xf]++
			v[b>>4]++
		}
	}
	return u, v
}

// TestDrawMLKEM compares drawn ciphertexts with real ones: the difference must be
// what two samples of one distribution have, which bytes at random exceed.
func TestDrawMLKEM(t *testing.T) {
	key, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	const samples = 600
	var drawn, genuine, noise [][]byte
	for range samples {
		c, err := drawMLKEM(nil)
		if err != nil || len(c) != mlkem.CiphertextSize768 {
			t.Fatalf("got %d bytes and %v, want %d", len(c), err, mlkem.CiphertextSize768)
		}
		if _, err := key.Decapsulate(c); err != nil {
			t.Fatalf("decapsulate: got %v, want nil", err)
		}
		_, real := key.EncapsulationKey().Encapsulate()
		random := make([]byte, len(c))
		_, _ = rand.Read(random)
		drawn, genuine, noise = append(drawn, c), append(genuine, real), append(noise, random)
	}
	ur, vr := histogram(genuine)
	for name, list := range map[string][][]byte{"drawn": drawn, "noise": noise} {
		u, v := histogram(list)
		// Chi-square of two samples, in standard deviations from its mean.
		du, dv := apart(u[:], ur[:]), apart(v[:], vr[:])
		if same := du < 8 && dv < 8; same != (name == "drawn") {
			t.Errorf("%s: got %.1f and %.1f standard deviations from real ones, want drawn below 8 and noise not", name, du, dv)
		}
	}
}

func apart(a, b []float64) float64 {
	chi := 0.0
	for i := range a {
		chi += (a[i] - b[i]) * (a[i] - b[i]) / (a[i] + b[i])
	}
	free := float64(len(a) - 1)
	return (chi - free) / math.Sqrt(2*free)
}

func BenchmarkShare(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 4<<10)
	for b.Loop() {
		x, _ := drawMLKEM(buf)
		_, _ = drawX25519(x)
	}
}
