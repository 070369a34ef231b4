package vless

import (
	"errors"
	"net"
	"time"

	"relay/transport"
)

// SetDeadline implements net.Conn.
func (d *dialed) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (d *dialed) SetReadDeadline(t time.Time) error {
	return d.setDeadline(t, &d.reads, transport.Conn.SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (d *dialed) SetWriteDeadline(t time.Time) error {
	return d.setDeadline(t, &d.writes, transport.Conn.SetWriteDeadline)
}

func (d *dialed) setDeadline(t time.Time, own *deadline, set func(transport.Conn, time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return net.ErrClosed
	case d.conn != nil:
		return set(d.conn, t)
	}
	own.set(t, d.rouse)
	d.moved.Broadcast()
	return nil
}

// rouse makes whoever waits look at the clock. A Write that opens the stream has no
// other way out.
func (d *dialed) rouse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opening != nil && d.writing && d.writes.passed() {
		d.opening()
	}
	d.moved.Broadcast()
}

// LocalAddr implements net.Conn.
func (d *dialed) LocalAddr() net.Addr {
	if c := d.Below(); c != nil {
		return c.LocalAddr()
	}
	return unopened{}
}

// RemoteAddr implements net.Conn.
func (d *dialed) RemoteAddr() net.Addr {
	if c := d.Below(); c != nil {
		return c.RemoteAddr()
	}
	return unopened{}
}

// unopened is the address of a stream that has not been opened.
type unopened struct{}

// Network implements net.Addr.
func (unopened) Network() string { return "vless" }

// String implements net.Addr.
func (unopened) String() string { return "" }

// applyDeadlines hands deadlines down that were set before there was anything below;
// under mu.
func (d *dialed) applyDeadlines() {
	d.reads.stop()
	d.writes.stop()
	if !d.reads.at.IsZero() {
		_ = d.conn.SetReadDeadline(d.reads.at)
	}
	if !d.writes.at.IsZero() {
		_ = d.conn.SetWriteDeadline(d.writes.at)
	}
}
