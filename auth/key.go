package auth

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"log/slog"
	"strings"
)

const keySize = 32

// Key is a user's key or a realm. It never prints itself.
type Key struct{ b [keySize]byte }

// NewKey draws a key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k.b[:]) // never fails (crypto/rand)
	return k
}

// String hides the key.
func (Key) String() string { return "[secret]" }

// GoString hides the key from %#v.
func (Key) GoString() string { return "[secret]" }

// LogValue hides the key.
func (Key) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the key; the store writes it by its own means.
func (Key) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Credential derives the n bytes that a client of the protocol called label
// presents (see the package comment).
func (k Key) Credential(realm Key, label string, generation uint32, n int) []byte {
	info := append([]byte("relay/1"), label...)
	info = binary.BigEndian.AppendUint32(info, generation)
	b, err := hkdf.Key(sha256.New, k.b[:], realm.b[:], string(info), n)
	if err != nil {
		// Only a length beyond 255 hashes fails: a programming error whose
		// safe result is a credential that nobody can present.
		return nil
	}
	return b
}

// passwordBytes gives 120 bits: 24 characters that survive URLs, shells,
// double clicks and being read out over the telephone.
const passwordBytes = 15

var passwordText = base32.StdEncoding.WithPadding(base32.NoPadding)

// Password is a credential in the form that people paste.
func (k Key) Password(realm Key, label string, generation uint32) string {
	return strings.ToLower(passwordText.EncodeToString(k.Credential(realm, label, generation, passwordBytes)))
}

// equalSecret compares without telling by its time where the two differ.
func equalSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
