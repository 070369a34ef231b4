package browser

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"relay/transport/hello"
)

// Extensions that are not always the same in every hello (IANA's registry).
const (
	extServerName          = 0
	extGroups              = 10
	extSignatureAlgorithms = 13
	extALPN                = 16
	extPadding             = 21
	extSessionTicket       = 35
	extPreSharedKey        = 41
	extEarlyData           = 42
	extVersions            = 43
	extCookie              = 44
	extKeyShare            = 51
	extECH                 = 0xfe0d

	// echOverhead is what an ECH extension has besides its payload, with a key of
	// X25519 (RFC 9849, Section 5).
	echOverhead = 1 + 2 + 2 + 1 + 2 + 32 + 2
	echTag      = 16 // what AES-128-GCM adds to the payload

	version13 = hello.VersionTLS13
	version12 = 0x0303

	groupP256           = hello.GroupP256
	groupP384           = 0x0018
	groupP521           = 0x0019
	groupX25519         = hello.GroupX25519
	groupX25519MLKEM768 = hello.GroupX25519MLKEM768
)

// made reports whether an extension is made from the lists of a profile, or for
// each connection, rather than from a body that never changes.
func made(id Number) bool {
	switch id {
	case GREASE, extServerName, extGroups, extSignatureAlgorithms, extALPN, extPadding,
		extSessionTicket, extPreSharedKey, extVersions, extKeyShare, extECH:
		return true
	}
	return false
}

// Seen is one ClientHello without what is drawn for each connection.
type Seen struct {
	TLS
	Size    int  // of the message
	Resumes bool // it offers a session of before
}

// Inspect reads a ClientHello message.
func Inspect(message []byte) (Seen, error) {
	h, err := hello.Parse(message)
	if err != nil {
		return Seen{}, err
	}
	s := Seen{Size: len(message)}
	for n := range h.CipherSuites() {
		s.CipherSuites = append(s.CipherSuites, plain(Number(n)))
	}
	for n := range h.Groups() {
		s.Groups = append(s.Groups, plain(Number(n)))
	}
	for n := range h.Versions() {
		s.Versions = append(s.Versions, plain(Number(n)))
	}
	for n := range h.KeyShares() {
		s.KeyShares = append(s.KeyShares, plain(Number(n)))
	}
	for p := range h.Protocols() {
		s.Protocols = append(s.Protocols, string(p))
	}
	for id, body := range h.Extensions() {
		if err := s.extension(plain(Number(id)), body); err != nil {
			return Seen{}, fmt.Errorf("extension %04x: %w", id, err)
		}
	}
	return s, nil
}

func (s *Seen) extension(id Number, body []byte) error {
	if id != GREASE && slices.ContainsFunc(s.Extensions, func(e Extension) bool { return e.ID == id }) {
		return errors.New("it is there twice")
	}
	switch id {
	case extPreSharedKey:
		s.Resumes = true
		return nil // only on a repeat visit
	case extSignatureAlgorithms:
		list, ok := numberList(body)
		if !ok {
			return hello.ErrMalformed
		}
		s.SignatureAlgorithms = list
	case extECH:
		if len(body) <= echOverhead || body[0] != 0 || binary.BigEndian.Uint16(body[6:]) != 32 {
			return errors.New("its form is not the one of a hello with a key of X25519")
		}
		s.ECHPayloads = []int{len(body) - echOverhead}
	}
	e := Extension{ID: id}
	if !made(id) {
		e.Body = bytes.Clone(body)
	}
	s.Extensions = append(s.Extensions, e)
	return nil
}

// numberList reads two-byte numbers behind two bytes of length.
func numberList(b []byte) (l Numbers, ok bool) {
	if len(b) < 2 || len(b)%2 != 0 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		return nil, false
	}
	for b = b[2:]; len(b) > 0; b = b[2:] {
		l = append(l, plain(Number(binary.BigEndian.Uint16(b))))
	}
	return l, true
}

// merge makes what a browser's TLS is out of several of its hellos.
func merge(shapes []Seen) (TLS, error) {
	if len(shapes) == 0 {
		return TLS{}, errors.New("no ClientHello")
	}
	out := shapes[0].TLS
	for _, s := range shapes[1:] {
		for _, l := range []struct {
			name      string
			got, want Numbers
		}{
			{"cipher suites", s.CipherSuites, out.CipherSuites},
			{"versions", s.Versions, out.Versions},
			{"groups", s.Groups, out.Groups},
			{"key shares", s.KeyShares, out.KeyShares},
			{"signature algorithms", s.SignatureAlgorithms, out.SignatureAlgorithms},
		} {
			if !slices.Equal(l.got, l.want) {
				return TLS{}, fmt.Errorf("%s differ between visits: %v and %v", l.name, l.want, l.got)
			}
		}
		if !slices.Equal(s.Protocols, out.Protocols) {
			return TLS{}, fmt.Errorf("protocols differ between visits: %q and %q", out.Protocols, s.Protocols)
		}
		if !slices.EqualFunc(s.Extensions, out.Extensions, sameExtension) {
			out.Shuffle = true
		}
		if a, b := ordered(s.Extensions), ordered(out.Extensions); !slices.EqualFunc(a, b, sameExtension) {
			return TLS{}, fmt.Errorf("extensions differ between visits: %v and %v", b, a)
		}
		for _, n := range s.ECHPayloads {
			if !slices.Contains(out.ECHPayloads, n) {
				out.ECHPayloads = append(out.ECHPayloads, n)
			}
		}
	}
	slices.Sort(out.ECHPayloads)
	if out.Shuffle {
		out.Extensions = ordered(out.Extensions)
	}
	return out, nil
}

func sameExtension(a, b Extension) bool { return a.ID == b.ID && bytes.Equal(a.Body, b.Body) }

// ordered is a list by number, with GREASE where it is: at the ends.
func ordered(list []Extension) []Extension {
	out := slices.Clone(list)
	from, to := 0, len(out)
	if to > 0 && out[0].ID == GREASE {
		from++
	}
	if to > from && out[to-1].ID == GREASE {
		to--
	}
	slices.SortFunc(out[from:to], func(a, b Extension) int { return int(a.ID) - int(b.ID) })
	return out
}
