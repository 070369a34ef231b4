package probe

import (
	"bytes"
	"encoding/binary"
)

// The fields of messages that are random by design are blanked, so that one run
// is enough to compare the rest; what else varies is learned from the reference.

// helloRetryRandom marks a HelloRetryRequest, RFC 8446, Section 4.1.3.
var helloRetryRandom = []byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// downgrade is how a random ends when an older version was chosen, same section.
var downgrade = []byte("DOWNGRD")

const (
	extKeyShare          = 51
	extSupportedVersions = 43
)

// blankServerHello blanks random, session id and key share; not the marks that
// a random can end with. An echoed session id is as long as what we sent.
func blankServerHello(b []byte) {
	if len(b) < 35 {
		return
	}
	if random := b[2:34]; !bytes.Equal(random, helloRetryRandom) {
		if !bytes.HasPrefix(random[24:], downgrade) {
			clear(random[24:])
		}
		clear(random[:24])
	}
	n := 35 + int(b[34])
	if n > len(b) {
		return
	}
	clear(b[35:n])
	n += 2 + 1 + 2 // suite, compression, length of extensions
	for n+4 <= len(b) {
		typ, size := binary.BigEndian.Uint16(b[n:]), int(binary.BigEndian.Uint16(b[n+2:]))
		n += 4
		if n+size > len(b) {
			return
		}
		if typ == extKeyShare && size > 4 {
			clear(b[n+4 : n+size])
		}
		n += size
	}
}

// blankTicket keeps the life time and, of TLS 1.3, the nonce and the extensions.
func blankTicket(b []byte) []byte {
	if len(b) < 9 {
		return b
	}
	out := bytes.Clone(b[:4])
	// TLS 1.2: a length that fits the rest exactly, RFC 5077, Section 3.3.
	if int(binary.BigEndian.Uint16(b[4:])) == len(b)-6 {
		return out
	}
	nonce := int(b[8])
	if len(b) < 9+nonce+2 {
		return out
	}
	out = append(out, b[8:9+nonce]...)
	rest := b[9+nonce:]
	if n := 2 + int(binary.BigEndian.Uint16(rest)); n <= len(rest) {
		out = append(out, rest[n:]...)
	}
	return out
}

// blankKeyExchange keeps curve, length of the key and algorithm, RFC 8422,
// Section 5.4. Other key exchanges are learned from the reference.
func blankKeyExchange(b []byte) []byte {
	const namedCurve = 3
	if len(b) < 4 || b[0] != namedCurve || len(b) < 4+int(b[3])+2 {
		return b
	}
	n := 4 + int(b[3])
	return append(bytes.Clone(b[:4]), b[n:n+2]...)
}
