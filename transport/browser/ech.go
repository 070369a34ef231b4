package browser

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	echVersion  = 0xfe0d // RFC 9849, Section 4
	kemX25519   = 0x0020
	maxECHList  = 4 << 10
	echKeySize  = 32
	echPadding  = 32      // RFC 9849, Section 6.1.3
	echMustKnow = 1 << 15 // an extension that a client has to understand
)

var (
	errECHMalformed = errors.New("the ECH configuration is malformed")
	errECHUnknown   = errors.New("there is no ECH configuration that this program can use: it knows X25519, HKDF-SHA256 and AES-GCM or ChaCha20")
)

// echConfig takes from a list the first configuration that this program can use
// for a name, as a list of its own, and the public name in it.
func echConfig(list []byte, name string) (one []byte, public string, err error) {
	rest, ok := vector(&list)
	if !ok || len(list) > 0 || len(rest) > maxECHList {
		return nil, "", errECHMalformed
	}
	err = errECHUnknown
	for len(rest) > 0 {
		whole := rest
		if len(rest) < 2 {
			return nil, "", errECHMalformed
		}
		version := binary.BigEndian.Uint16(rest)
		rest = rest[2:]
		body, ok := vector(&rest)
		if !ok {
			return nil, "", errECHMalformed
		}
		public, longest, ok := readECH(body)
		if version != echVersion || !ok {
			continue
		}
		// The library pads to 32 bytes, as browsers do, without the part that hides
		// how long the name is: such a payload is of a size that no browser sends.
		if odd := max(0, longest-len(name)); odd%echPadding != 0 {
			err = fmt.Errorf("its maximum_name_length is %d, with which this program's hello would not be a browser's: have the server write 0", longest)
			continue
		}
		whole = whole[:len(whole)-len(rest)]
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(whole))), whole...), public, nil
	}
	return nil, "", fmt.Errorf("ECH: %w", err)
}

// readECH reads an ECHConfigContents; ok: it is one to use.
func readECH(b []byte) (name string, longest int, ok bool) {
	if len(b) < 3 || binary.BigEndian.Uint16(b[1:]) != kemX25519 {
		return "", 0, false
	}
	b = b[3:]
	key, ok := vector(&b)
	if !ok || len(key) != echKeySize {
		return "", 0, false
	}
	suites, ok := vector(&b)
	if !ok || len(suites)%4 != 0 {
		return "", 0, false
	}
	usable := false
	for ; len(suites) > 0; suites = suites[4:] {
		aead := binary.BigEndian.Uint16(suites[2:])
		usable = usable || binary.BigEndian.Uint16(suites) == hkdfSHA256 && aead >= aes128GCM && aead <= 3
	}
	if len(b) < 2 || len(b) < 2+int(b[1]) || b[1] == 0 {
		return "", 0, false
	}
	longest = int(b[0])
	name, b = string(b[2:2+int(b[1])]), b[2+int(b[1]):]
	extensions, ok := vector(&b)
	if !ok || len(b) > 0 {
		return "", 0, false
	}
	for len(extensions) >= 2 {
		kind := binary.BigEndian.Uint16(extensions)
		extensions = extensions[2:]
		if _, ok := vector(&extensions); !ok || kind&echMustKnow != 0 {
			return "", 0, false
		}
	}
	return name, longest, usable && len(extensions) == 0
}

// vector takes what two bytes of length say off the front.
func vector(b *[]byte) (v []byte, ok bool) {
	if len(*b) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(*b))
	if len(*b) < 2+n {
		return nil, false
	}
	v, *b = (*b)[2:2+n], (*b)[2+n:]
	return v, true
}
