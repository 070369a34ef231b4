package policy

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// question follows the attempts of one lookup: it chooses the name server,
// keeps the time of each attempt, and reads the answers on their way to the
// net package, which does not tell for how long they hold.
type question struct {
	resolver *resolver

	mu      sync.Mutex
	tries   int
	wasUDP  bool     // the last attempt was a datagram
	open    net.Conn // of the attempt under way
	aborted bool
	seen    bool
	seconds uint32 // least TTL of all answers
}

// dial is the hook of net.Resolver. The net package asks over UDP first and
// comes back with TCP when the answer was cut off; that one must go to the
// same server.
func (q *question) dial(ctx context.Context, network, system string) (net.Conn, error) {
	q.mu.Lock()
	tcp := strings.HasPrefix(network, "tcp")
	if !tcp || !q.wasUDP || q.tries == 0 {
		q.tries++
	}
	q.wasUDP = !tcp
	server := system
	if n := len(q.resolver.servers); n > 0 {
		server = q.resolver.servers[(q.tries-1)%n].String()
	}
	aborted := q.aborted
	q.mu.Unlock()
	if aborted {
		return nil, context.Canceled
	}
	d := net.Dialer{Timeout: q.resolver.attempt, KeepAlive: -1}
	c, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	return q.follow(c)
}

func (q *question) follow(c net.Conn) (net.Conn, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.aborted {
		_ = c.Close()
		return nil, context.Canceled
	}
	q.open = c
	switch c := c.(type) {
	case *net.UDPConn:
		return &datagramConn{UDPConn: c, q: q}, nil
	case *net.TCPConn:
		return &streamConn{TCPConn: c, q: q}, nil
	}
	return c, nil
}

// abort ends the attempt under way, if any, and lets no other begin. The net
// package itself would go on reading after its context has ended, in a
// goroutine that nobody waits for.
func (q *question) abort() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.aborted = true
	if q.open != nil {
		_ = q.open.Close()
	}
}

func (q *question) asked() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tries
}

// ttl returns the least TTL of the answers; false if there was none.
func (q *question) ttl() (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Duration(q.seconds) * time.Second, q.seen
}

// note reads one answer. A forged one can only shorten the time.
func (q *question) note(msg []byte) {
	seconds, ok := leastTTL(msg)
	if !ok {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.seen || seconds < q.seconds {
		q.seconds = seconds
	}
	q.seen = true
}

// soonest keeps an attempt within its share of the lookup's time.
func (q *question) soonest(t time.Time) time.Time {
	if limit := time.Now().Add(q.resolver.attempt); t.IsZero() || limit.Before(t) {
		return limit
	}
	return t
}

// datagramConn embeds a *net.UDPConn because the net package decides by
// net.PacketConn how to frame its messages.
type datagramConn struct {
	*net.UDPConn
	q *question
}

// Read is one message.
func (c *datagramConn) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	if err == nil {
		c.q.note(b[:n])
	}
	return n, err
}

// SetDeadline never allows more than one attempt.
func (c *datagramConn) SetDeadline(t time.Time) error { return c.UDPConn.SetDeadline(c.q.soonest(t)) }

// streamConn carries one message behind its length (RFC 1035, Section 4.2.2),
// in pieces as they come.
type streamConn struct {
	*net.TCPConn
	q   *question
	msg []byte // what has come so far; at most 2 + 65535 bytes count
}

// Read collects the message and notes it once it is whole.
func (c *streamConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	const header = 2
	if n == 0 || len(c.msg) > header+0xffff {
		return n, err
	}
	c.msg = append(c.msg, b[:n]...)
	if len(c.msg) >= header {
		if end := header + int(binary.BigEndian.Uint16(c.msg)); len(c.msg) >= end && len(c.msg)-n < end {
			c.q.note(c.msg[header:end])
		}
	}
	return n, err
}

// SetDeadline never allows more than one attempt.
func (c *streamConn) SetDeadline(t time.Time) error { return c.TCPConn.SetDeadline(c.q.soonest(t)) }

// leastTTL returns the least TTL of the addresses and aliases in an answer;
// false if it has none or is not a DNS message. A TTL with the top bit set
// counts as 0 (RFC 2181, Section 8).
func leastTTL(msg []byte) (seconds uint32, ok bool) {
	var p dnsmessage.Parser
	if _, err := p.Start(msg); err != nil {
		return 0, false
	}
	if err := p.SkipAllQuestions(); err != nil {
		return 0, false
	}
	for {
		h, err := p.AnswerHeader()
		if err != nil {
			return seconds, ok
		}
		switch h.Type {
		case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeCNAME:
			ttl := h.TTL
			if ttl > 1<<31-1 {
				ttl = 0
			}
			if !ok || ttl < seconds {
				seconds = ttl
			}
			ok = true
		}
		if err := p.SkipAnswer(); err != nil {
			return seconds, ok
		}
	}
}

var _ net.PacketConn = (*datagramConn)(nil)
