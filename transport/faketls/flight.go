package faketls

import (
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"fmt"

	"github.com/cloudflare/circl/pke/kyber/kyber768"

	"relay/transport/hello"
)

const (
	typeChangeCipherSpec = 20
	typeHandshake        = 22
	typeApplicationData  = 23
	recordHeader         = 5
	// maxRecord is what a record of ours may hold. TLS allows 256 more and real
	// servers use 17 of them, but tdlib has refused more than this.
	maxRecord = 1 << 14
	// maxFlight is the longest record in the server's flight: Telegram for iOS
	// takes a longer one for an error.
	maxFlight = 10240

	suiteAES128 = 0x1301
	suiteAES256 = 0x1302
	suiteLast   = 0x1303

	extSupportedVersions = 43
	extKeyShare          = 51
)

func newVisit() *visit {
	v := &visit{
		record: make([]byte, 0, 2<<10),
		flight: make([]byte, 0, 8<<10),
	}
	v.mac.hash = sha256.New()
	return v
}

// answer returns the server's flight: ServerHello, ChangeCipherSpec and one
// record of noise in place of everything that would be encrypted. The random of
// the ServerHello is the code over all of it (SPEC.md, "Server flight").
func (v *visit) answer(c Cover) ([]byte, error) {
	b := append(v.flight[:0], typeHandshake, 3, 3, 0, 0, 2, 0, 0, 0, 3, 3)
	b = append(b, make([]byte, randomSize)...)
	b = append(b, byte(len(v.hello.SessionID)))
	b = append(b, v.hello.SessionID...)
	b = binary.BigEndian.AppendUint16(b, c.suiteFor(&v.hello))
	b = append(b, 0)
	extensions := len(b)
	b = append(b, 0, 0)
	version := [...]byte{0, extSupportedVersions, 0, 2, 3, 4}
	var err error
	if !c.KeyShareFirst {
		b = append(b, version[:]...)
	}
	if b, err = v.keys.appendShare(b, c.groupFor(&v.hello), &v.hello); err != nil {
		return nil, fmt.Errorf("faketls: key share: %w", err)
	}
	if c.KeyShareFirst {
		b = append(b, version[:]...)
	}
	binary.BigEndian.PutUint16(b[extensions:], uint16(len(b)-extensions-2))
	binary.BigEndian.PutUint16(b[3:], uint16(len(b)-recordHeader))
	binary.BigEndian.PutUint16(b[7:], uint16(len(b)-recordHeader-4))

	b = append(b, typeChangeCipherSpec, 3, 3, 0, 1, 1)
	size := c.recordSize(&v.hello)
	b = append(b, typeApplicationData, 3, 3, byte(size>>8), byte(size))
	noise := len(b)
	b = grow(b, size)
	if _, err := rand.Read(b[noise:]); err != nil {
		return nil, err
	}
	v.flight = b
	copy(b[randomBegin:], v.mac.sum(&v.key, v.random[:], b)[:])
	return b, nil
}

// keys are what a key share is made with and of.
type keys struct {
	theirs      kyber768.PublicKey
	ciphertext  [mlkem.CiphertextSize768]byte
	shared      [mlkem.SharedKeySize]byte // of no use to anybody
	own, public [keySize]byte
}

// encapsulate is ML-KEM.Encaps of FIPS 203 (Algorithms 17 and 20), for a key as it
// came. circl's own makes 7 kB of garbage in it.
func (k *keys) encapsulate(theirs []byte) error {
	if err := k.theirs.UnpackMLKEM(theirs); err != nil {
		return err
	}
	var seed [64]byte // the message, and the hash of the key
	if _, err := rand.Read(seed[:32]); err != nil {
		return err
	}
	hash := sha3.Sum256(theirs)
	copy(seed[32:], hash[:])
	both := sha3.Sum512(seed[:]) // the shared key, and what encrypting draws from
	k.theirs.EncryptTo(k.ciphertext[:], seed[:32], both[32:])
	copy(k.shared[:], both[:32])
	return nil
}

// appendShare appends the extension with a key of ours. Both kinds are what a
// real server would send: half of all strings of 32 bytes are no X25519 key, and
// whoever sees a few can tell.
func (k *keys) appendShare(b []byte, group uint16, h *hello.Hello) ([]byte, error) {
	if _, err := rand.Read(k.own[:]); err != nil {
		return nil, err
	}
	publicKey(&k.public, &k.own)
	var ciphertext []byte
	if group == hello.GroupX25519MLKEM768 {
		// A server that answers a key that is none is not a server.
		if err := k.encapsulate(h.KeyShare(group)[:mlkem.EncapsulationKeySize768]); err != nil {
			group = hello.GroupX25519
		} else {
			ciphertext = k.ciphertext[:]
		}
	}
	size := len(ciphertext) + len(k.public)
	b = append(b, 0, extKeyShare)
	b = binary.BigEndian.AppendUint16(b, uint16(4+size))
	b = binary.BigEndian.AppendUint16(b, group)
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(b, ciphertext...)
	return append(b, k.public[:]...), nil
}

// grow makes b longer by n bytes of any value.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, len(b)+n), b...)
	}
	return b[:len(b)+n]
}
