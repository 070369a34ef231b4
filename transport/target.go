package transport

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Target is where a client wants to go: a name or a literal address, and a
// port. The zero Target is invalid. It is comparable.
type Target struct {
	name string
	addr netip.Addr
	port uint16
}

// maxName is the longest host name that DNS can carry (RFC 1035, Section 2.3.4).
const maxName = 253

var errTarget = errors.New("not a usable host and port")

// AddrTarget returns the Target for a literal address. IPv4-mapped IPv6
// addresses become IPv4 and zones are refused, so that one place has one form.
func AddrTarget(ap netip.AddrPort) (Target, error) {
	a := ap.Addr()
	if !a.IsValid() || a.Zone() != "" || ap.Port() == 0 {
		return Target{}, errTarget
	}
	return Target{addr: a.Unmap(), port: ap.Port()}, nil
}

// NameTarget returns the Target for a host name, which may also be a literal
// address written out. The name is lower-cased and loses a final dot; a name
// that only a lenient resolver would read as an address ("127.1", "0x7f.1",
// "2130706433") is refused.
func NameTarget(host string, port uint16) (Target, error) {
	if port == 0 {
		return Target{}, errTarget
	}
	literal, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		// RFC 3986, Section 3.2.2: in brackets stands an IPv6 address.
		inner, ok := strings.CutSuffix(literal, "]")
		if !ok || !strings.Contains(inner, ":") {
			return Target{}, errTarget
		}
		literal = inner
	}
	if a, err := netip.ParseAddr(literal); err == nil {
		return AddrTarget(netip.AddrPortFrom(a, port))
	}
	name := lower(strings.TrimSuffix(host, "."))
	if !validName(name) {
		return Target{}, errTarget
	}
	return Target{name: name, port: port}, nil
}

// ParseTarget reads "host:port".
func ParseTarget(hostport string) (Target, error) {
	host, p, err := net.SplitHostPort(hostport)
	if err != nil {
		return Target{}, errTarget
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return Target{}, errTarget
	}
	return NameTarget(host, uint16(port))
}

// IsName reports whether the target is a name that somebody has to resolve.
func (t Target) IsName() bool { return t.name != "" }

// Host is the name, or the address written out.
func (t Target) Host() string {
	if t.name != "" {
		return t.name
	}
	return t.addr.String()
}

// Name is the host name; empty for a literal address.
func (t Target) Name() string { return t.name }

// Addr is the literal address; invalid for a name.
func (t Target) Addr() netip.Addr { return t.addr }

// Port is the TCP port, never 0 in a valid Target.
func (t Target) Port() uint16 { return t.port }

// IsValid reports whether t was made by one of the constructors.
func (t Target) IsValid() bool { return t.port != 0 }

// String is "host:port", with brackets around IPv6. Logs show it at debug
// level only.
func (t Target) String() string {
	return net.JoinHostPort(t.Host(), strconv.Itoa(int(t.port)))
}

// lower changes ASCII only: strings.ToLower would turn the Kelvin sign into a k.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// validName accepts letters, digits, hyphens and underscores in labels of 1 to
// 63 bytes (RFC 1123, Section 2.1; underscores are in real use). The last
// label must not look like a number, or the name could be an address in
// disguise (WHATWG URL, "ends in a number").
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
		last = label
	}
	return !numberLike(last)
}

func numberLike(label string) bool {
	digits := strings.TrimPrefix(label, "0x")
	hex := len(digits) != len(label)
	for i := range len(digits) {
		c := digits[i]
		if !(c >= '0' && c <= '9' || hex && c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}
