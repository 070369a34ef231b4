package web

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Bytes is a range to draw a size from: 1000000, or "500000-1000000". The zero value
// is nothing written.
type Bytes struct{ Least, Most int }

// Interval is a range to draw a pause from: "30ms", or "20ms-60ms". The zero value
// is nothing written.
type Interval struct{ Least, Most time.Duration }

// What Xray's clients do, and browsers that upload a file in pieces are not faster.
// CDNs take a customer with quicker posts for a flood.
var (
	DefaultPostBytes    = Bytes{mostPiece, mostPiece}
	DefaultPostInterval = Interval{30 * time.Millisecond, 30 * time.Millisecond}
)

const (
	// leastPost keeps an upload from being made of requests' heads.
	leastPost    = 512
	mostInterval = 10 * time.Second
)

// Draw returns a size of the range.
func (b Bytes) Draw() int { return b.Least + rand.IntN(b.Most-b.Least+1) }

// Draw returns a pause of the range.
func (i Interval) Draw() time.Duration {
	return i.Least + rand.N(i.Most-i.Least+1)
}

func (b Bytes) valid() bool { return leastPost <= b.Least && b.Least <= b.Most && b.Most <= mostPiece }

func (i Interval) valid() bool { return 0 < i.Least && i.Least <= i.Most && i.Most <= mostInterval }

// UnmarshalTOML reads a number or a range.
func (b *Bytes) UnmarshalTOML(v any) error {
	from, to := fmt.Sprint(v), fmt.Sprint(v)
	if s, ok := v.(string); ok {
		from, to = ends(s)
	}
	least, err := strconv.Atoi(from)
	most, err2 := strconv.Atoi(to)
	if errors.Join(err, err2) != nil || !(Bytes{least, most}).valid() {
		return fmt.Errorf(`want a size from %d to %d, such as %[2]d, or a range, such as "500000-%[2]d"`, leastPost, mostPiece)
	}
	*b = Bytes{least, most}
	return nil
}

// MarshalTOML is the value to write.
func (b *Bytes) MarshalTOML() any {
	switch {
	case *b == Bytes{}:
		return nil
	case b.Least == b.Most:
		return b.Least
	}
	return fmt.Sprintf("%d-%d", b.Least, b.Most)
}

// UnmarshalTOML reads a duration or a range.
func (i *Interval) UnmarshalTOML(v any) error {
	s, _ := v.(string)
	from, to := ends(s)
	least, err := time.ParseDuration(from)
	most, err2 := time.ParseDuration(to)
	if errors.Join(err, err2) != nil || !(Interval{least, most}).valid() {
		return fmt.Errorf(`want a duration up to %s, such as "30ms", or a range, such as "20ms-60ms"`, mostInterval)
	}
	*i = Interval{least, most}
	return nil
}

// MarshalTOML is the value to write.
func (i *Interval) MarshalTOML() any {
	switch {
	case *i == Interval{}:
		return nil
	case i.Least == i.Most:
		return i.Least.String()
	}
	return i.Least.String() + "-" + i.Most.String()
}

// ends takes a range apart; a single value is both.
func ends(s string) (from, to string) {
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		to = from
	}
	return strings.TrimSpace(from), strings.TrimSpace(to)
}

// Pin is the SHA-256 of a certificate (of its DER form), in hex, with or without
// colons, or in base64.
type Pin [32]byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pin) UnmarshalText(text []byte) error {
	s := string(text)
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		b, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	}
	if err != nil || len(b) != len(p) {
		return errors.New("want the SHA-256 of a certificate: 64 hex digits, or 43 characters of base64")
	}
	copy(p[:], b)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (p *Pin) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, p[:]), nil }
