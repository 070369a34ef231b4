package resolve

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// service is one HTTPS record (RFC 9460).
type service struct {
	priority uint16
	target   string // in lower case with its final dot; "." is the owner itself
	alpn     []string
	only     bool   // no protocol but those
	port     uint16 // 0: not said
	hints    []netip.Addr
	ech      []byte
	known    bool // all keys that it calls mandatory are known here
}

// alias reports whether the record only says where to look (Section 2.4.2).
func (s *service) alias() bool { return s.priority == 0 }

var errParams = errors.New("parameters without sense")

// newService reads the parameters of a record. One that is malformed makes the whole
// record so (Section 2.2).
func newService(r dnsmessage.SVCBResource) (*service, error) {
	s := &service{priority: r.Priority, target: lower(r.Target), known: true}
	if s.alias() {
		return s, nil // Section 2.4.2: its parameters are to be ignored
	}
	for _, p := range r.Params {
		var err error
		switch p.Key {
		case dnsmessage.SVCParamMandatory:
			s.known, err = mandatory(p.Value, r.Params)
		case dnsmessage.SVCParamALPN:
			s.alpn, err = protocols(p.Value)
		case dnsmessage.SVCParamNoDefaultALPN:
			if len(p.Value) != 0 {
				err = errParams
			}
			s.only = true
		case dnsmessage.SVCParamPort:
			if len(p.Value) != 2 {
				return nil, errParams
			}
			s.port = binary.BigEndian.Uint16(p.Value)
		case dnsmessage.SVCParamIPv4Hint:
			err = s.hint(p.Value, 4)
		case dnsmessage.SVCParamIPv6Hint:
			err = s.hint(p.Value, 16)
		case dnsmessage.SVCParamECH:
			// A list for other versions is of no use, and no fault of the record.
			if err = CheckECH(p.Value); err == nil {
				s.ech = slices.Clone(p.Value)
			} else if errors.Is(err, errVersion) {
				err = nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// mandatory reads the list of keys that a client has to know (Section 8): sorted,
// without itself, each of them there.
func mandatory(v []byte, params []dnsmessage.SVCParam) (known bool, err error) {
	if len(v) == 0 || len(v)%2 != 0 {
		return false, errParams
	}
	known = true
	last := dnsmessage.SVCParamMandatory
	for ; len(v) > 0; v = v[2:] {
		key := dnsmessage.SVCParamKey(binary.BigEndian.Uint16(v))
		if key <= last || !slices.ContainsFunc(params, func(p dnsmessage.SVCParam) bool { return p.Key == key }) {
			return false, errParams
		}
		last = key
		known = known && key <= dnsmessage.SVCParamIPv6Hint
	}
	return known, nil
}

// protocols reads a list of ALPN ids (Section 7.1.1).
func protocols(v []byte) ([]string, error) {
	var out []string
	for len(v) > 0 {
		n := int(v[0])
		if n == 0 || len(v) <= n {
			return nil, errParams
		}
		out = append(out, string(v[1:1+n]))
		v = v[1+n:]
	}
	if len(out) == 0 {
		return nil, errParams
	}
	return out, nil
}

// hint reads addresses of one family (Section 7.3).
func (s *service) hint(v []byte, size int) error {
	if len(v) == 0 || len(v)%size != 0 {
		return errParams
	}
	for ; len(v) > 0; v = v[size:] {
		if a, ok := netip.AddrFromSlice(v[:size]); ok && len(s.hints) < maxAddrs {
			s.hints = append(s.hints, a.Unmap())
		}
	}
	return nil
}

// httpsPort is the port whose record is asked for: others have names of their own
// (Section 9.1), which nobody serves.
const httpsPort = 443

// usable reports whether a client that speaks HTTP/2 and HTTP/1.1 over TCP can use
// the record. One for another port is of another server.
func (s *service) usable() bool {
	return s.known && (s.port == 0 || s.port == httpsPort) &&
		(!s.only || slices.Contains(s.alpn, "h2") || slices.Contains(s.alpn, "http/1.1"))
}

// best is the record to use: an alias wins (Section 2.4.1), then the lowest
// priority. nil: none.
func best(all []service) *service {
	var b *service
	for i := range all {
		if s := &all[i]; (s.alias() || s.usable()) && (b == nil || s.priority < b.priority) {
			b = s
		}
	}
	return b
}

// elsewhere is the name that a record points to, "" if it is the owner.
func (s *service) elsewhere(owner string) string {
	if t := strings.TrimSuffix(s.target, "."); t != owner {
		return t
	}
	return ""
}

const (
	// maxECH bounds a list: those in use have one config of some 70 bytes.
	maxECH = 4 << 10
	// echVersion is the one that browsers have, since draft 13.
	echVersion = 0xfe0d
)

var errVersion = errors.New("an ECHConfigList without a config of version 0xfe0d")

// CheckECH says what is wrong with an ECHConfigList, as far as its frame goes: it
// must have a config of the version that is in use.
func CheckECH(list []byte) error {
	if len(list) < 2 || len(list) > maxECH || int(binary.BigEndian.Uint16(list)) != len(list)-2 {
		return errors.New("not an ECHConfigList: its length is wrong")
	}
	known := false
	for rest := list[2:]; len(rest) > 0; {
		if len(rest) < 4 {
			return errors.New("not an ECHConfigList: a config is cut off")
		}
		end := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		if end > len(rest) {
			return errors.New("not an ECHConfigList: a config is cut off")
		}
		known = known || binary.BigEndian.Uint16(rest) == echVersion
		rest = rest[end:]
	}
	if !known {
		return errVersion
	}
	return nil
}
