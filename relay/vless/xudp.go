package vless

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"relay/transport"
)

// globalIDSize is the length of what names an association beyond its stream (Xray,
// common/xudp/xudp.go).
const globalIDSize = 8

// xudp is an association of datagrams at an exit: XUDP, as Xray's client speaks it.
// The session, number 0, begins with the first datagram; each one names its peer.
type xudp struct {
	c     *dialed
	in    chunks
	first transport.Target // the peer that answers without one come from
	rerr  error            // the frames have broken off, or ended
	werr  error
}

var (
	_ transport.PacketConn = (*xudp)(nil)
	_ transport.ReadWaiter = (*xudp)(nil)
)

func newXUDP(c *dialed) *xudp { return &xudp{c: c, in: newChunks(c)} }

// ReadPacket implements transport.PacketConn.
func (x *xudp) ReadPacket(b []byte) (n int, peer transport.Target, err error) {
	for x.rerr == nil {
		f, begun, err := x.frame()
		if err != nil {
			if begun || f.status == statusEnd {
				x.rerr = err
			}
			return 0, peer, wrapEnd(err)
		}
		if !f.has(optionData) {
			continue
		}
		if n, err = x.data(f, b); err != nil {
			x.rerr = err
		} else if n > 0 {
			if f.network == 0 {
				f.peer = x.first
			}
			return n, f.peer, nil
		}
	}
	return 0, peer, wrapEnd(x.rerr)
}

// frame reads a frame up to its data. begun says that an error has come within one.
func (x *xudp) frame() (f frame, begun bool, err error) {
	var b [maxFrame]byte
	n, err := x.in.full(b[:lengthSize])
	if err != nil {
		return f, n > 0, err
	}
	size := int(binary.BigEndian.Uint16(b[:]))
	if size > maxFrame {
		return f, true, errFrame
	}
	if _, err = x.in.full(b[:size]); err != nil {
		return f, true, broken(err)
	}
	if f, err = parseFrame(b[:size]); err != nil {
		return f, true, err
	}
	if f.status == statusEnd {
		err = io.EOF
		if f.has(optionError) {
			err = errBrokenOff
		}
	}
	return f, false, err
}

// data reads the data of a frame. What is no datagram for the reader is 0 bytes.
func (x *xudp) data(f frame, b []byte) (n int, err error) {
	var length [lengthSize]byte
	if _, err := x.in.full(length[:]); err != nil {
		return 0, broken(err)
	}
	n = int(binary.BigEndian.Uint16(length[:]))
	unwanted := f.status != statusKeep || f.network != 0 && !f.peer.IsValid()
	if unwanted || n > len(b) {
		return 0, x.in.skip(n)
	}
	_, err = x.in.full(b[:n])
	return n, broken(err)
}

// WaitRead implements transport.ReadWaiter.
func (x *xudp) WaitRead() error {
	if x.rerr != nil {
		return nil
	}
	if _, err := x.in.next(); err != io.EOF {
		return err
	}
	return nil
}

// WritePacket implements transport.PacketConn. A stream that has failed once is of
// no more use: half a frame may be on its way.
func (x *xudp) WritePacket(b []byte, peer transport.Target) error {
	switch {
	case x.werr != nil:
		return x.werr
	case !peer.IsValid():
		return errNoTarget
	case len(b) == 0:
		return nil // Xray's server would take it for none
	case len(b) > maxAnswer:
		return errTooLarge
	}
	buf := packetBuffers.Get().(*[]byte)
	defer packetBuffers.Put(buf)
	f := frame{status: statusKeep, option: optionData, network: networkUDP, peer: peer}
	if !x.first.IsValid() {
		x.first, f.status = peer, statusNew
	}
	wire := appendFrame((*buf)[:0], f)
	if f.status == statusNew {
		wire = appendGlobalID(wire)
	}
	wire = append(binary.BigEndian.AppendUint16(wire, uint16(len(b))), b...)
	if _, err := x.c.Write(wire); err != nil {
		x.werr = fmt.Errorf("vless: datagram: %w: %w", net.ErrClosed, err)
	}
	return x.werr
}

// appendGlobalID completes a first frame. The id is never used again: with the same
// one, Xray's server would go on with an association that may be another program's by
// then.
func appendGlobalID(wire []byte) []byte {
	var id [globalIDSize]byte
	_, _ = rand.Read(id[:])
	wire = append(wire, id[:]...)
	binary.BigEndian.PutUint16(wire, uint16(len(wire)-lengthSize))
	return wire
}

// SetDeadline implements transport.PacketConn.
func (x *xudp) SetDeadline(t time.Time) error { return x.c.SetDeadline(t) }

// Close implements transport.PacketConn. Clients of XUDP end an association with its
// stream.
func (x *xudp) Close() error { return x.c.Close() }
