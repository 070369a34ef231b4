package vless

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"relay/transport"
)

// lengthSize is the length in front of a datagram, and of the data of a frame.
const lengthSize = 2

// packetBuffers holds *[]byte for a datagram and all that goes in front of it.
var packetBuffers = sync.Pool{New: func() any {
	b := make([]byte, len(replyHeader)+lengthSize+transport.MaxPacket)
	return &b
}}

// errTooLarge is about one datagram alone.
var errTooLarge = errors.New("vless: datagram is longer than the client can take")

// datagrams is the client's end of command 2. Whatever the peer of an answer is,
// the client has one target: the egress lets nobody answer who was not asked.
type datagrams struct {
	c    *reply
	in   chunks
	to   transport.Target
	rerr error // the frames have broken off
	werr error
}

var (
	_ transport.PacketConn = (*datagrams)(nil)
	_ transport.ReadWaiter = (*datagrams)(nil)
)

func newDatagrams(c *reply, to transport.Target) *datagrams {
	return &datagrams{c: c, in: newChunks(c), to: to}
}

// ReadPacket implements transport.PacketConn.
func (d *datagrams) ReadPacket(b []byte) (n int, peer transport.Target, err error) {
	for d.rerr == nil {
		var length [lengthSize]byte
		if n, err := d.in.full(length[:]); err != nil {
			if n > 0 {
				d.rerr = err
			}
			return 0, peer, wrapEnd(err)
		}
		size := int(binary.BigEndian.Uint16(length[:]))
		if size == 0 {
			continue
		}
		if size > len(b) {
			d.rerr = d.in.skip(size)
			continue
		}
		if _, err = d.in.full(b[:size]); err == nil {
			return size, d.to, nil
		}
		d.rerr = broken(err)
	}
	return 0, peer, wrapEnd(d.rerr)
}

// wrapEnd says where an error comes from; callers compare io.EOF.
func wrapEnd(err error) error {
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("vless: datagram: %w", err)
}

// WaitRead implements transport.ReadWaiter.
func (d *datagrams) WaitRead() error {
	if d.rerr != nil {
		return nil
	}
	if _, err := d.in.next(); err != io.EOF {
		return err
	}
	return nil
}

// WritePacket implements transport.PacketConn. A stream that has failed once is of
// no more use: half a frame may be on its way.
func (d *datagrams) WritePacket(b []byte, _ transport.Target) error {
	switch {
	case d.werr != nil:
		return d.werr
	case len(b) == 0:
		return nil // the client would take it for none
	case len(b) > transport.MaxPacket:
		return errTooLarge
	}
	buf := packetBuffers.Get().(*[]byte)
	defer packetBuffers.Put(buf)
	wire := append(binary.BigEndian.AppendUint16((*buf)[:0], uint16(len(b))), b...)
	if _, err := d.c.Write(wire); err != nil {
		d.werr = fmt.Errorf("vless: datagram: %w: %w", net.ErrClosed, err)
	}
	return d.werr
}

// SetDeadline implements transport.PacketConn.
func (d *datagrams) SetDeadline(t time.Time) error { return d.c.SetDeadline(t) }

// Close implements transport.PacketConn.
func (d *datagrams) Close() error { return d.c.Close() }
