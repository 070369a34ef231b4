package interop

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// The one name the DNS server knows, and one it does not. RFC 6761, Section 6.2
// keeps "test" out of the public tree, should a query ever escape.
const (
	knownName   = "files.example.test"
	unknownName = "nowhere.example.test"
)

// dnsServer answers A for the names it knows, an empty answer for their other
// types, and NXDOMAIN for everything else.
type dnsServer struct {
	addr  string
	knows map[string]string // addresses by name

	mu    sync.Mutex
	asked []string
}

// startDNS starts one that knows knownName as an address on loopback.
func startDNS(t *testing.T) *dnsServer {
	t.Helper()
	return startDNSAt(t, "127.0.0.1:0", map[string]string{knownName: "127.0.0.1"})
}

func startDNSAt(t *testing.T, addr string, knows map[string]string) *dnsServer {
	t.Helper()
	pc, err := net.ListenPacket("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	d := &dnsServer{addr: pc.LocalAddr().String(), knows: knows}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := d.answer(b[:n]); answer != nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return d
}

// names is what was asked for so far, each name once.
func (d *dnsServer) names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := slices.Sorted(slices.Values(d.asked))
	return slices.Compact(s)
}

func (d *dnsServer) answer(query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	d.mu.Lock()
	d.asked = append(d.asked, name)
	d.mu.Unlock()

	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: head.ID, Response: true, Authoritative: true,
			RecursionDesired: head.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{q},
	}
	addr, known := netip.Addr{}, d.knows[name]
	if known != "" {
		addr = netip.MustParseAddr(known)
	}
	switch {
	case known == "":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
