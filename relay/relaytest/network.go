package relaytest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"relay/transport"
)

// Network is TCP in memory. The zero Network is ready for use; the fields are
// set before the first Listen or Dial. In a synctest bubble, make the Network
// inside the bubble.
type Network struct {
	// Buffer is how many bytes one direction of a connection holds before
	// writes block; 0 means 64 KiB.
	Buffer int
	// Hosts are the names that Dial and DialStream resolve.
	Hosts map[string]netip.Addr

	mu        sync.Mutex
	listeners map[netip.AddrPort]*listener
	port      uint16 // the last one given out
}

const (
	defaultBuffer = 64 << 10
	backlog       = 128
	firstPort     = 32768
)

// listener is a bound address with its accept queue.
type listener struct {
	net   *Network
	addr  netip.AddrPort
	queue chan *Conn
	done  chan struct{} // closed by Close
	once  sync.Once
}

// Listen binds addr, "ip:port"; port 0 chooses one. The listener's Accept
// returns a *Conn. Closing it resets connections that nobody has accepted.
func (n *Network) Listen(addr string) (net.Listener, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ap.Port() == 0 {
		ap = netip.AddrPortFrom(ap.Addr(), n.nextPort())
	}
	if n.listeners[ap] != nil {
		return nil, sysErr("listen", "bind", nil, net.TCPAddrFromAddrPort(ap), syscall.EADDRINUSE)
	}
	l := &listener{net: n, addr: ap, queue: make(chan *Conn, backlog), done: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = make(map[netip.AddrPort]*listener)
	}
	n.listeners[ap] = l
	return l, nil
}

// Dial connects to a listener of n from 127.0.0.1. addr is "host:port", host
// an address or one of Hosts. It waits for ctx while the accept queue is full.
func (n *Network) Dial(ctx context.Context, addr string) (transport.Conn, error) {
	return n.DialFrom(ctx, netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr)
}

// DialFrom is Dial with a source address of the caller's choice.
func (n *Network) DialFrom(ctx context.Context, source netip.Addr, addr string) (transport.Conn, error) {
	to, err := n.resolve(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	remote := net.TCPAddrFromAddrPort(to)
	n.mu.Lock()
	l := n.listeners[to]
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if l == nil {
			l = n.listeners[netip.AddrPortFrom(any, to.Port())]
		}
	}
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, n.nextPort()))
	n.mu.Unlock()
	if l == nil {
		return nil, sysErr("dial", "connect", nil, remote, syscall.ECONNREFUSED)
	}
	near, far := newPair(n.Buffer, local, remote)
	select {
	case <-l.done:
		return nil, sysErr("dial", "connect", nil, remote, syscall.ECONNREFUSED)
	default:
	}
	select {
	case l.queue <- far:
		l.sweep()
		return near, nil
	case <-l.done:
		return nil, sysErr("dial", "connect", nil, remote, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: ctx.Err()}
	}
}

// DialStream implements [transport.Dialer]; early is written first.
func (n *Network) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	c, err := n.Dial(ctx, to.String())
	if err != nil || len(early) == 0 {
		return c, err
	}
	if _, err := c.Write(early); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (n *Network) resolve(addr string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	t, err := transport.ParseTarget(addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", addr, err)
	}
	a, ok := n.Hosts[t.Name()]
	if !ok {
		return netip.AddrPort{}, &net.DNSError{Err: "no such host", Name: t.Name(), IsNotFound: true}
	}
	return netip.AddrPortFrom(a, t.Port()), nil
}

// nextPort returns a port that is not in use on purpose; under mu.
func (n *Network) nextPort() uint16 {
	n.port++
	if n.port < firstPort {
		n.port = firstPort
	}
	return n.port
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	closed := &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	select {
	case <-l.done:
		return nil, closed
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, closed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	err := error(&net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed})
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
		close(l.done)
		l.sweep()
		err = nil
	})
	return err
}

// sweep resets what is in the accept queue of a closed listener.
func (l *listener) sweep() {
	select {
	case <-l.done:
	default:
		return
	}
	for {
		select {
		case c := <-l.queue:
			_ = c.SetLinger(0)
			_ = c.Close()
		default:
			return
		}
	}
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// sysErr is a system call's error in the wrapping of package net.
func sysErr(op, call string, local, remote *net.TCPAddr, errno syscall.Errno) error {
	e := &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(call, errno)}
	if local != nil {
		e.Source = local
	}
	if remote != nil {
		e.Addr = remote
	}
	return e
}
