package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"relay/transport"
	"relay/transport/browser"
)

const (
	// nextTime is after how long the next address is tried beside one that has not
	// answered: longer than a round trip anywhere, and short enough that two silent
	// addresses cost less than three seconds.
	nextTime = time.Second
	// tcpTime and tlsTime are how long an address may take. Silence after a hello
	// is how some censors say no.
	tcpTime = 6 * time.Second
	tlsTime = 4 * time.Second
	// mostAddrs bounds the addresses of one connection.
	mostAddrs = 16
	// unsentSize is what a carrier's socket holds that has not been sent: more only
	// delays whatever is more urgent.
	unsentSize = 128 << 10
)

// connected is a connection to the server, encrypted, and the meter of what came.
type connected struct {
	*browser.Conn
	meter *metered
	addr  netip.AddrPort
}

// connect makes a connection: to the addresses of the way in order, the next beside
// one that is slow, until a handshake is done. WebSocket says what it is for.
func (c *Client) connect(ctx context.Context, socket bool) (*connected, error) {
	began := time.Now()
	addrs, err := c.addrs(ctx)
	var ech *echTry
	if err == nil {
		ech, err = c.ech(ctx)
	}
	c.took(StageName, netip.AddrPort{}, began, err)
	if err != nil {
		return nil, err
	}
	var last error
	for len(addrs) > 0 {
		raw, addr, err := c.race(ctx, addrs)
		if err != nil {
			return nil, cmp.Or(last, err) // what answered says more than what did not
		}
		m := &metered{Conn: raw}
		began := time.Now()
		conn, err := c.secure(ctx, m, socket, ech)
		c.took(StageHello, addr, began, err)
		if err == nil {
			c.mu.Lock()
			c.good = addr
			c.mu.Unlock()
			return &connected{conn, m, addr}, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("hello: %w", context.Cause(ctx))
		}
		// A second try of the same hello says what a server wants in its place.
		if rejected, ok := errors.AsType[*browser.ECHRejectedError](err); ok && ech.retry(rejected.Retry) {
			continue
		}
		last = fmt.Errorf("hello: %w", reason(err))
		addrs = without(addrs, addr)
	}
	return nil, last
}

// step is a step of making a connection that has been taken.
type step struct {
	stage Stage
	addr  netip.AddrPort
	took  time.Duration
	err   error
}

func (c *Client) took(stage Stage, addr netip.AddrPort, began time.Time, err error) {
	if c.trace != nil {
		c.trace(step{stage, addr, time.Since(began), err})
	}
}

// without returns addrs without one.
func without(addrs []netip.AddrPort, one netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range addrs {
		if a != one {
			out = append(out, a)
		}
	}
	return out
}

// reason takes addresses out of an error: it ends up in logs.
func reason(err error) error {
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// secure makes the handshake.
func (c *Client) secure(ctx context.Context, raw transport.Conn, socket bool, ech *echTry) (*browser.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tlsTime, errSilent)
	defer cancel()
	return c.profile.Client(ctx, raw, browser.Config{
		ServerName: c.way.SNI, VerifyName: c.way.CertificateName, Pins: c.way.Pins, Roots: c.roots,
		WebSocket: socket, ECH: ech.list, NoECH: c.way.ECH.Mode == ECHOff, Sessions: c.sessions,
	})
}

var errSilent = errors.New("no answer")

// echTry is the ECH of one connection.
type echTry struct {
	list    []byte
	retried bool
}

// retry takes the list that a server offers (RFC 9849, Section 6.1.6); once.
func (e *echTry) retry(list []byte) bool {
	if e.retried || len(list) == 0 {
		return false // without ECH the name would be there to read
	}
	e.list, e.retried = list, true
	return true
}

var errNoECH = errors.New("ech: the DNS has no configuration for this name")

// ech is what the way says about ECH.
func (c *Client) ech(ctx context.Context) (*echTry, error) {
	switch e := c.way.ECH; e.Mode {
	case ECHList:
		return &echTry{list: e.List}, nil
	case ECHDNS:
		a, err := c.names.Lookup(ctx, c.way.SNI)
		if err != nil {
			return nil, fmt.Errorf("ech: %w", err)
		}
		if len(a.ECH) == 0 {
			return nil, errNoECH
		}
		return &echTry{list: a.ECH}, nil
	}
	return new(echTry), nil
}

var errNowhere = errors.New("name: there is no address to connect to")

// addrs are where to connect, the one that worked last before the others.
func (c *Client) addrs(ctx context.Context) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	var last error
	for _, p := range c.way.Connect {
		a, err := c.names.Lookup(ctx, p.Host)
		if err != nil {
			last = fmt.Errorf("name: %w", err)
			continue
		}
		for _, ip := range a.Addrs {
			if len(out) < mostAddrs {
				out = append(out, netip.AddrPortFrom(ip, p.Port))
			}
		}
	}
	if len(out) == 0 {
		return nil, cmp.Or(last, errNowhere)
	}
	c.mu.Lock()
	good := c.good
	c.mu.Unlock()
	for i, a := range out {
		if a == good {
			copy(out[1:i+1], out[:i])
			out[0] = good
		}
	}
	return out, nil
}

// race connects to the first address that answers (RFC 8305, Section 5).
func (c *Client) race(ctx context.Context, addrs []netip.AddrPort) (transport.Conn, netip.AddrPort, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn transport.Conn
		addr netip.AddrPort
		err  error
	}
	results := make(chan result, len(addrs))
	started, ended := 0, 0
	start := func() {
		addr := addrs[started]
		started++
		c.tasks.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, tcpTime, errSilent)
			defer cancel()
			began := time.Now()
			conn, err := c.dialTCP(ctx, addr)
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			c.took(StageConnect, addr, began, err)
			results <- result{conn, addr, err}
		})
	}
	defer func() {
		late := started - ended
		c.tasks.Go(func() {
			for range late {
				if r := <-results; r.err == nil {
					_ = r.conn.Close()
				}
			}
		})
	}()
	start()
	next := time.NewTicker(nextTime)
	defer next.Stop()
	var last error
	for ended < started {
		select {
		case r := <-results:
			ended++
			if r.err == nil {
				return r.conn, r.addr, nil
			}
			last = fmt.Errorf("connect: %w", reason(r.err))
			if ended == started && started < len(addrs) {
				start()
			}
		case <-next.C:
			if started < len(addrs) {
				start()
			}
		case <-ctx.Done():
			return nil, netip.AddrPort{}, fmt.Errorf("connect: %w", context.Cause(ctx))
		}
	}
	return nil, netip.AddrPort{}, last
}

// keepAlive is that of a browser.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 45 * time.Second}

// DialTCP connects as carriers do. Nothing is resolved.
func DialTCP(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive, FallbackDelay: -1}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	t := c.(*net.TCPConn)
	limitUnsent(t)
	return t, nil
}

// metered counts what comes and goes. Censors count so as well, the handshake included.
type metered struct {
	transport.Conn
	down, up atomic.Int64
}

// Read implements net.Conn.
func (m *metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.down.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (m *metered) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.up.Add(int64(n))
	return n, err
}

// Below returns the wrapped connection.
func (m *metered) Below() transport.Conn { return m.Conn }
