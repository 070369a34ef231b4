package hello

import (
	"errors"
	"iter"
)

// Numbers of TLS (IANA registries) that more than one disguise asks for.
const (
	VersionTLS13 = 0x0304

	GroupP256           = 0x0017
	GroupX25519         = 0x001d
	GroupX25519MLKEM768 = 0x11ec

	extServerName        = 0
	extSupportedGroups   = 10
	extALPN              = 16
	extSupportedVersions = 43
	extKeyShare          = 51
)

// ErrMalformed says that a ClientHello is not one.
var ErrMalformed = errors.New("malformed ClientHello")

// Hello is what a ClientHello says. Its slices are parts of the message it was
// parsed from. Lists are checked for their form when they are parsed, so that
// walking over them cannot fail.
type Hello struct {
	Version    uint16 // legacy_version
	Random     []byte // 32 bytes
	SessionID  []byte // up to 32 bytes
	ServerName []byte // of the server_name extension, as sent; empty if absent

	suites, groups, versions []byte // two bytes each
	shares, protocols        []byte
	extensions               []byte
	seen                     uint64 // extensions below 64
}

// Parse reads a ClientHello message: without the record header, see [Message].
func Parse(message []byte) (Hello, error) {
	var h Hello
	if !h.parse(message) {
		return Hello{}, ErrMalformed
	}
	return h, nil
}

func (h *Hello) parse(message []byte) bool {
	r := reader(message)
	head, ok := r.take(messageHeader)
	if !ok || head[0] != typeClientHello || int(head[1])<<16|int(head[2])<<8|int(head[3]) != len(r) {
		return false
	}
	if h.Version, ok = r.uint16(); !ok {
		return false
	}
	if h.Random, ok = r.take(32); !ok {
		return false
	}
	if h.SessionID, ok = r.vector8(); !ok || len(h.SessionID) > 32 {
		return false
	}
	if h.suites, ok = r.vector16(); !ok || !pairs(h.suites) {
		return false
	}
	if compression, ok := r.vector8(); !ok || len(compression) == 0 {
		return false
	}
	if len(r) == 0 {
		return true // without extensions, as before TLS 1.2
	}
	extensions, ok := r.vector16()
	if !ok || len(r) > 0 {
		return false
	}
	h.extensions = extensions
	for r := reader(extensions); len(r) > 0; {
		kind, ok := r.uint16()
		if !ok {
			return false
		}
		body, ok := r.vector16()
		if !ok || !h.extension(kind, body) {
			return false
		}
	}
	return true
}

// extension reads one, if it is one that we know. Twice the same is forbidden
// (RFC 8446, Section 4.2): two readers of one hello must not see two names.
func (h *Hello) extension(kind uint16, body []byte) (ok bool) {
	if kind < 64 {
		bit := uint64(1) << kind
		if h.seen&bit != 0 {
			return false
		}
		h.seen |= bit
	}
	r := reader(body)
	switch kind {
	case extServerName:
		h.ServerName, ok = serverName(r)
		return ok
	case extSupportedGroups:
		h.groups, ok = r.vector16()
		return ok && pairs(h.groups) && len(r) == 0
	case extSupportedVersions:
		h.versions, ok = r.vector8()
		return ok && pairs(h.versions) && len(r) == 0
	case extKeyShare:
		h.shares, ok = r.vector16()
		return ok && len(r) == 0 && each(h.shares, func(r *reader) bool {
			_, ok := r.uint16()
			key, ok2 := r.vector16()
			return ok && ok2 && len(key) > 0
		})
	case extALPN:
		h.protocols, ok = r.vector16()
		return ok && len(r) == 0 && len(h.protocols) > 0 && each(h.protocols, func(r *reader) bool {
			name, ok := r.vector8()
			return ok && len(name) > 0
		})
	}
	return true
}

// serverName reads the only host name of a list (RFC 6066, Section 3).
func serverName(r reader) (name []byte, ok bool) {
	list, ok := r.vector16()
	if !ok || len(list) == 0 || len(r) > 0 {
		return nil, false
	}
	return name, each(list, func(r *reader) bool {
		kind, ok := r.take(1)
		entry, ok2 := r.vector16()
		if !ok || !ok2 || len(entry) == 0 {
			return false
		}
		if kind[0] != 0 {
			return true
		}
		first := name == nil
		name = entry
		return first
	})
}

// each reads a list entry by entry.
func each(list []byte, entry func(*reader) bool) bool {
	for r := reader(list); len(r) > 0; {
		if !entry(&r) {
			return false
		}
	}
	return true
}

// CipherSuites are those that the client offers, in its order.
func (h *Hello) CipherSuites() iter.Seq[uint16] { return numbers(h.suites) }

// Groups are the key exchange groups that the client supports, in its order.
func (h *Hello) Groups() iter.Seq[uint16] { return numbers(h.groups) }

// Versions are those of the supported_versions extension.
func (h *Hello) Versions() iter.Seq[uint16] { return numbers(h.versions) }

// OffersSuite reports whether suite is offered.
func (h *Hello) OffersSuite(suite uint16) bool { return contains(h.suites, suite) }

// OffersGroup reports whether group is supported.
func (h *Hello) OffersGroup(group uint16) bool { return contains(h.groups, group) }

// OffersVersion reports whether version is in the supported_versions extension.
func (h *Hello) OffersVersion(version uint16) bool { return contains(h.versions, version) }

// KeyShares are the groups for which the client has sent a key, with the keys.
func (h *Hello) KeyShares() iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for r := reader(h.shares); len(r) > 0; {
			group, _ := r.uint16()
			key, ok := r.vector16()
			if !ok || !yield(group, key) {
				return
			}
		}
	}
}

// KeyShare is the client's key for group; nil if it has sent none.
func (h *Hello) KeyShare(group uint16) []byte {
	for g, key := range h.KeyShares() {
		if g == group {
			return key
		}
	}
	return nil
}

// Protocols are the application protocols (RFC 7301) that the client offers.
func (h *Hello) Protocols() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for r := reader(h.protocols); len(r) > 0; {
			name, ok := r.vector8()
			if !ok || !yield(name) {
				return
			}
		}
	}
}

// Extensions are all of them, in their order, with what they say.
func (h *Hello) Extensions() iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for r := reader(h.extensions); len(r) > 0; {
			kind, _ := r.uint16()
			body, ok := r.vector16()
			if !ok || !yield(kind, body) {
				return
			}
		}
	}
}

// IsGREASE reports whether a number is one that clients send to keep servers
// from choking on numbers they do not know (RFC 8701).
func IsGREASE(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }

func numbers(b []byte) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for ; len(b) > 1; b = b[2:] {
			if !yield(uint16(b[0])<<8 | uint16(b[1])) {
				return
			}
		}
	}
}

func contains(b []byte, n uint16) bool {
	for ; len(b) > 1; b = b[2:] {
		if uint16(b[0])<<8|uint16(b[1]) == n {
			return true
		}
	}
	return false
}

// pairs reports whether a list of two-byte numbers is one.
func pairs(b []byte) bool { return len(b) > 0 && len(b)%2 == 0 }

// reader takes what TLS presentation language describes from its front.
type reader []byte

func (r *reader) take(n int) ([]byte, bool) {
	if len(*r) < n {
		return nil, false
	}
	b := (*r)[:n:n]
	*r = (*r)[n:]
	return b, true
}

func (r *reader) uint16() (uint16, bool) {
	b, ok := r.take(2)
	if !ok {
		return 0, false
	}
	return uint16(b[0])<<8 | uint16(b[1]), true
}

func (r *reader) vector8() ([]byte, bool) {
	n, ok := r.take(1)
	if !ok {
		return nil, false
	}
	return r.take(int(n[0]))
}

func (r *reader) vector16() ([]byte, bool) {
	n, ok := r.uint16()
	if !ok {
		return nil, false
	}
	return r.take(int(n))
}
