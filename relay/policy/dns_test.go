package policy

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is what a test's name server says to one question. The zero zone is
// NXDOMAIN.
type zone struct {
	addrs     []string
	alias     string // a CNAME in front of the addresses
	aliasTTL  uint32
	ttl       uint32
	exists    bool // no data of this type, but the name is there
	silent    bool // never answers
	fail      bool // SERVFAIL
	truncated bool // over UDP, the answer is cut off
}

// nameServer is a name server on loopback, over UDP and TCP. answer is called
// for each question, with the name without its final dot.
type nameServer struct {
	addr   string
	answer func(name string, t dnsmessage.Type) zone

	mu    sync.Mutex
	names []string
}

func newNameServer(t testing.TB, answer func(name string, t dnsmessage.Type) zone) *nameServer {
	t.Helper()
	s := &nameServer{answer: answer}
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = pc.LocalAddr().String()
	l, err := net.Listen("tcp4", s.addr)
	if err != nil {
		_ = pc.Close()
		t.Skipf("TCP port of the name server is taken: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.serveUDP(pc) })
	wg.Go(func() { s.serveTCP(l) })
	t.Cleanup(func() {
		_ = pc.Close()
		_ = l.Close()
		wg.Wait()
	})
	return s
}

func (s *nameServer) serveUDP(pc net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		if msg := s.reply(b[:n], true); msg != nil {
			_, _ = pc.WriteTo(msg, from)
		}
	}
}

func (s *nameServer) serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		var size [2]byte
		_, _ = io.ReadFull(c, size[:])
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		_, _ = io.ReadFull(c, b)
		msg := s.reply(b, false)
		out := append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
		for _, one := range out { // in the smallest pieces
			_, _ = c.Write([]byte{one})
		}
		_ = c.Close()
	}
}

// questions lists the names asked for so far, as asked.
func (s *nameServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

func (s *nameServer) reply(query []byte, udp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	name := q.Name.String()
	s.mu.Lock()
	s.names = append(s.names, name)
	s.mu.Unlock()
	z := s.answer(name[:len(name)-1], q.Type)
	if z.silent {
		return nil
	}
	return z.message(h.ID, q, udp)
}

func (z zone) message(id uint16, q dnsmessage.Question, udp bool) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case z.fail:
		m.RCode = dnsmessage.RCodeServerFailure
	case z.truncated && udp:
		m.Truncated = true
		z.addrs = nil
	case len(z.addrs) == 0 && !z.exists:
		m.RCode = dnsmessage.RCodeNameError
	}
	owner := q.Name
	if z.alias != "" {
		owner = dnsmessage.MustNewName(z.alias + ".")
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: z.aliasTTL},
			Body:   &dnsmessage.CNAMEResource{CNAME: owner},
		})
	}
	for _, s := range z.addrs {
		a := netip.MustParseAddr(s)
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: owner, Class: q.Class, TTL: z.ttl}}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			r.Body = &dnsmessage.AResource{A: a.As4()}
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue
		}
		m.Answers = append(m.Answers, r)
	}
	msg, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return msg
}

func FuzzLeastTTL(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	f.Add(zone{addrs: []string{"1.1.1.1", "1.0.0.1"}, ttl: 60}.message(1, q, true))
	f.Add(zone{addrs: []string{"1.1.1.1"}, alias: "b.example", aliasTTL: 5, ttl: 1<<32 - 1}.message(2, q, true))
	f.Add(zone{}.message(3, q, true))
	f.Add([]byte{})
	f.Add([]byte("\x00\x01\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		seconds, ok := leastTTL(msg)
		if !ok && seconds != 0 {
			t.Errorf("without an answer: got %d seconds, want 0", seconds)
		}
		if seconds > 1<<31-1 {
			t.Errorf("got %d seconds, want at most 2^31-1 (RFC 2181, Section 8)", seconds)
		}
	})
}

func TestLeastTTL(t *testing.T) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	tests := []struct {
		name string
		zone zone
		want uint32
		ok   bool
	}{
		{"one", zone{addrs: []string{"1.1.1.1"}, ttl: 60}, 60, true},
		{"alias is shorter", zone{addrs: []string{"1.1.1.1"}, ttl: 60, alias: "b.example", aliasTTL: 5}, 5, true},
		{"alias is longer", zone{addrs: []string{"1.1.1.1"}, ttl: 60, alias: "b.example", aliasTTL: 600}, 60, true},
		{"negative", zone{addrs: []string{"1.1.1.1"}, ttl: 1 << 31}, 0, true},
		{"no data", zone{exists: true}, 0, false},
		{"no name", zone{}, 0, false},
	}
	for _, tt := range tests {
		got, ok := leastTTL(tt.zone.message(7, q, true))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %d, %v, want %d, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}
