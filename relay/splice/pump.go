package splice

import (
	"errors"
	"io"
	"net"
	"sync"

	"relay/transport"
)

// bufferSize is one read of the copying path. Small messages fit many times;
// a read that fills it is taken for bulk.
const bufferSize = 16 << 10

// buffers is the one pool of relay buffers; it holds *[]byte of bufferSize.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// pump moves one direction of a flow.
type pump struct {
	f        *Flow
	up       bool
	src, dst transport.Conn
	early    []byte // read before the flow began; goes first
	ready    *transport.Ready
}

// errSource and errSink tell which side of a direction broke.
var (
	errSource = errors.New("source broke off")
	errSink   = errors.New("sink broke off")
)

func (p *pump) run() {
	switch p.move() {
	case nil:
		_ = p.dst.CloseWrite()
	case errSource:
		p.f.end(p.gone(p.up), true)
	case errSink:
		p.f.broken(p.gone(!p.up))
	}
	p.f.pumpDone()
}

func (p *pump) gone(client bool) transport.Status {
	if client {
		return transport.ClientGone
	}
	return transport.TargetGone
}

// move returns nil when the source ended in order and everything was
// delivered, errSource, errSink, or net.ErrClosed when the flow was ended.
func (p *pump) move() error {
	if len(p.early) > 0 {
		early := p.early
		p.early = nil
		if err := p.deliver(early); err != nil {
			return err
		}
	}
	p.ready = transport.NewReady(p.src)
	for {
		b, n, err := p.ready.Read(&buffers)
		if n == 0 {
			return p.sourceEnd(err)
		}
		full := n == len(*b)
		err = p.deliver((*b)[:n])
		buffers.Put(b)
		if err != nil {
			return err
		}
		if full && !p.f.limited() {
			if over, err := p.bulk(); over {
				return err
			}
		}
	}
}

func (p *pump) deliver(b []byte) error {
	n, err := p.dst.Write(b)
	if n > 0 {
		if d := p.f.moved(p.up, n); d > 0 {
			p.f.pause(d)
		}
	}
	if err != nil {
		return p.sinkEnd(err)
	}
	return nil
}

func (p *pump) sourceEnd(err error) error {
	switch {
	case err == io.EOF:
		return nil
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	}
	return errSource
}

func (p *pump) sinkEnd(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	return errSink
}
