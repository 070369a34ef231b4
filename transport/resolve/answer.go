package resolve

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// maxMessage bounds an answer: a dozen records of any kind take a tenth.
	maxMessage = 16 << 10
	// maxRecords bounds the records of an answer that are looked at.
	maxRecords = 64
	// maxAliases bounds the CNAME records between a name and its addresses.
	maxAliases = 8
)

// records are what an answer has for the name that was asked for, behind its
// aliases.
type records struct {
	addrs    []netip.Addr
	services []service
	seconds  uint32 // least TTL on the way
}

// record is one of an answer before it is known whose it is.
type record struct {
	owner   string
	seconds uint32
	alias   string // of a CNAME
	addr    netip.Addr
	service *service
}

// parseAnswer reads an answer to one question. ErrNotFound is one too.
func parseAnswer(msg []byte, q dnsmessage.Question) (records, error) {
	if len(msg) > maxMessage {
		return records{}, broken("longer than %d bytes", maxMessage)
	}
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	switch {
	case err != nil:
		return records{}, broken("not a DNS message")
	case !h.Response || h.Truncated:
		return records{}, broken("not a whole response")
	}
	if asked, err := p.Question(); err != nil || asked.Type != q.Type || asked.Class != q.Class || !same(asked.Name, q.Name) {
		return records{}, broken("the answer to another question")
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return records{}, broken("more than one question")
	}
	switch h.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return records{}, ErrNotFound
	default:
		return records{}, broken("code %d", h.RCode)
	}
	all, err := readRecords(&p, q.Type)
	if err != nil {
		return records{}, err
	}
	return follow(all, lower(q.Name))
}

// readRecords reads the records that can be part of an answer to a question of
// type t. The others are passed over.
func readRecords(p *dnsmessage.Parser, t dnsmessage.Type) ([]record, error) {
	var all []record
	for range maxRecords {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return all, nil
		}
		if err != nil {
			return nil, broken("a record without sense")
		}
		r := record{owner: lower(h.Name), seconds: h.TTL}
		if r.seconds > 1<<31-1 {
			r.seconds = 0 // RFC 2181, Section 8
		}
		if h.Class != dnsmessage.ClassINET || h.Type != t && h.Type != dnsmessage.TypeCNAME {
			if err := p.SkipAnswer(); err != nil {
				return nil, broken("a record without sense")
			}
			continue
		}
		if err := readRecord(p, h.Type, &r); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func readRecord(p *dnsmessage.Parser, t dnsmessage.Type, r *record) error {
	var err error
	switch t {
	case dnsmessage.TypeCNAME:
		var b dnsmessage.CNAMEResource
		b, err = p.CNAMEResource()
		r.alias = lower(b.CNAME)
	case dnsmessage.TypeA:
		var b dnsmessage.AResource
		b, err = p.AResource()
		r.addr = netip.AddrFrom4(b.A)
	case dnsmessage.TypeAAAA:
		var b dnsmessage.AAAAResource
		b, err = p.AAAAResource()
		r.addr = netip.AddrFrom16(b.AAAA).Unmap()
	case dnsmessage.TypeHTTPS:
		var b dnsmessage.HTTPSResource
		if b, err = p.HTTPSResource(); err == nil {
			r.service, err = newService(b.SVCBResource)
		}
	}
	if err != nil {
		return broken("a record without sense")
	}
	return nil
}

// follow picks what belongs to name, through its aliases. Records of other names
// count for nothing: nobody has asked for them.
func follow(all []record, name string) (records, error) {
	out := records{seconds: 1<<31 - 1}
	for range maxAliases {
		next := ""
		for _, r := range all {
			if r.owner != name {
				continue
			}
			switch {
			case r.alias != "":
				next = r.alias
			case r.service != nil:
				out.services = append(out.services, *r.service)
			case len(out.addrs) < maxAddrs:
				out.addrs = append(out.addrs, r.addr)
			}
			out.seconds = min(out.seconds, r.seconds)
		}
		if len(out.addrs) > 0 || len(out.services) > 0 {
			return out, nil
		}
		if next == "" {
			return records{}, ErrNotFound
		}
		name = next
	}
	return records{}, broken("more than %d aliases", maxAliases)
}

// broken is an answer that is of no use.
func broken(format string, args ...any) error {
	return fmt.Errorf("%w: its answer is of no use: "+format, append([]any{ErrFailed}, args...)...)
}

func lower(n dnsmessage.Name) string { return strings.ToLower(n.String()) }

func same(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }
