package auth

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const keySize = 32

// Key is a user's key or a realm. It never prints itself: the bytes are behind
// a function because fmt, for a key in an unexported field of what it prints,
// asks none of the methods below, and follows pointers when a verb does not
// fit. The zero Key is none.
type Key struct{ reveal func() *[keySize]byte }

// NewKey draws a key.
func NewKey() Key {
	var b [keySize]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return keyFrom(b[:])
}

func keyFrom(from []byte) Key {
	b := [keySize]byte(from)
	return Key{func() *[keySize]byte { return &b }}
}

// bytes are the key's; nil of the zero Key.
func (k Key) bytes() []byte {
	if k.reveal == nil {
		return nil
	}
	return k.reveal()[:]
}

const secretText = "[secret]"

// String hides the key.
func (Key) String() string { return secretText }

// Format hides the key from every verb, %d and %x too.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, secretText) }

// LogValue hides the key.
func (Key) LogValue() slog.Value { return slog.StringValue(secretText) }

// MarshalText hides the key; the store writes it by its own means.
func (Key) MarshalText() ([]byte, error) { return []byte(secretText), nil }

// Credential derives the n bytes that a client of the protocol called label
// presents (see the package comment). The zero Key and the zero realm derive
// nothing.
func (k Key) Credential(realm Key, label string, generation uint32, n int) []byte {
	key, salt := k.bytes(), realm.bytes()
	if key == nil || salt == nil {
		return nil
	}
	info := append([]byte("relay/1"), label...)
	info = binary.BigEndian.AppendUint32(info, generation)
	b, err := hkdf.Key(sha256.New, key, salt, string(info), n)
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

// equalSecret compares without telling by its time where the two differ. The
// empty password is nobody's.
func equalSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1 && b != ""
}
