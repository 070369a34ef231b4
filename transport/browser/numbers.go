package browser

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"relay/transport/hello"
)

// GREASE stands for a number that is drawn for each connection (RFC 8701).
const GREASE Number = 0x0a0a

const greaseWord = "grease"

// Number is a 16-bit number of a TLS or HTTP/2 registry. In a profile it is
// four hexadecimal digits, or "grease".
type Number uint16

// MarshalText writes a number.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// String is how a profile writes the number.
func (n Number) String() string {
	if n == GREASE {
		return greaseWord
	}
	return fmt.Sprintf("%04x", uint16(n))
}

// UnmarshalText reads a number.
func (n *Number) UnmarshalText(b []byte) error {
	if string(b) == greaseWord {
		*n = GREASE
		return nil
	}
	v, err := strconv.ParseUint(string(b), 16, 16)
	if err != nil || len(b) != 4 {
		return fmt.Errorf("%.20q is not four hexadecimal digits or %q", b, greaseWord)
	}
	if *n = Number(v); plain(*n) != *n {
		return fmt.Errorf("%s is drawn for each connection: write %q", b, greaseWord)
	}
	return nil
}

// plain is n with every number of RFC 8701 as GREASE.
func plain(n Number) Number {
	if hello.IsGREASE(uint16(n)) {
		return GREASE
	}
	return n
}

// Numbers is a list of them. In a profile it is one string, with spaces.
type Numbers []Number

// MarshalText writes a list.
func (l Numbers) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// String is how a profile writes the list.
func (l Numbers) String() string {
	words := make([]string, len(l))
	for i, n := range l {
		words[i] = n.String()
	}
	return strings.Join(words, " ")
}

// UnmarshalText reads a list.
func (l *Numbers) UnmarshalText(b []byte) error {
	*l = nil
	for word := range strings.FieldsSeq(string(b)) {
		var n Number
		if err := n.UnmarshalText([]byte(word)); err != nil {
			return err
		}
		*l = append(*l, n)
	}
	return nil
}

// MarshalText writes "0005 0100000000".
func (e Extension) MarshalText() ([]byte, error) {
	b := []byte(e.ID.String())
	if len(e.Body) > 0 {
		b = hex.AppendEncode(append(b, ' '), e.Body)
	}
	return b, nil
}

// UnmarshalText reads an extension.
func (e *Extension) UnmarshalText(b []byte) (err error) {
	id, body, _ := strings.Cut(string(b), " ")
	if err := e.ID.UnmarshalText([]byte(id)); err != nil {
		return err
	}
	if e.Body, err = hex.DecodeString(body); err != nil {
		return fmt.Errorf("extension %s: %.20q is not hexadecimal", id, body)
	}
	return nil
}

// MarshalText writes "0001 65536".
func (s Setting) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%s %d", s.ID, s.Value), nil }

// UnmarshalText reads a setting.
func (s *Setting) UnmarshalText(b []byte) error {
	id, value, _ := strings.Cut(string(b), " ")
	if err := s.ID.UnmarshalText([]byte(id)); err != nil {
		return err
	}
	v, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return fmt.Errorf("setting %s: %.20q is not a number below 2^32", id, value)
	}
	s.Value = uint32(v)
	return nil
}

// MarshalText writes "name: value".
func (f Field) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// String is how a profile writes the field.
func (f Field) String() string { return strings.TrimSuffix(f.Name+": "+f.Value, " ") }

// UnmarshalText reads a field.
func (f *Field) UnmarshalText(b []byte) error {
	name, value, ok := strings.Cut(string(b), ":")
	if !ok || name == "" {
		return fmt.Errorf("%.40q is not a field: write name: value", b)
	}
	f.Name, f.Value = name, strings.TrimPrefix(value, " ")
	return nil
}
