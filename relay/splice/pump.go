package splice

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"relay/transport"
)

// bufferSize is one read of the copying path. Small messages fit many times;
// a read that fills it is taken for bulk.
const bufferSize = 16 << 10

const (
	// smallRead is one read of a pump: what a full TLS record has room for behind the
	// header of an HTTP/2 frame, or each read would become a long record and one of
	// some bytes.
	smallRead = bufferSize - 9
	// bulkRead is one behind a read that was full.
	bulkRead = 4 * smallRead
)

// small and bulk are the pools of relay buffers; they hold *[]byte.
var (
	small = sync.Pool{New: func() any { b := make([]byte, smallRead); return &b }}
	bulk  = sync.Pool{New: func() any { b := make([]byte, bulkRead); return &b }}
)

// pump moves one direction of a flow.
type pump struct {
	f        *pumped
	up       bool
	src, dst transport.Conn
	other    *pump  // the opposite direction
	early    []byte // read before the flow began; goes first
	ready    *transport.Ready

	wish atomic.Int32 // see idle.go
	name uint64       // among those that are parked; under lookout.mu

	writing sync.Mutex // held during a write to dst
	refused bool       // a write failed, and not because the peer has closed in order; under writing
}

// errSource and errSink tell which side of a direction broke.
var (
	errSource = errors.New("source broke off")
	errSink   = errors.New("sink broke off")
)

func (p *pump) run() {
	err := p.move()
	if err == errParked {
		return
	}
	p.wish.CompareAndSwap(free, never)
	if err == nil && p.sourceWasReset() {
		err = errSource
	}
	switch err {
	case nil:
		p.endWrite()
		if !p.up {
			p.f.farEnded.Store(true)
		}
	case errSource:
		p.f.end(p.gone(p.up), true)
	case errSink:
		p.f.broken(p.gone(!p.up))
	}
	p.f.pumpDone()
}

// endWrite passes the end of the source on. For the direction that ends last on
// a TCP socket the close that follows does, with one system call less; not if
// the other direction broke off, as it may have left unread bytes behind, with
// which a close is a reset.
func (p *pump) endWrite() {
	if _, ok := p.dst.(*net.TCPConn); ok && p.f.pumps.Load() == 1 && !p.f.isBroken() {
		return
	}
	_ = p.dst.CloseWrite()
}

// sourceWasReset reports whether what looked like the end of the source was a
// reset. Linux tells of a reset once, then reads see the end of the stream: if
// the other direction was writing at that moment, it has been told and we have
// not, and a broken download would look like a complete one.
func (p *pump) sourceWasReset() bool {
	// Nobody is writing: what the other direction was told is known, at the
	// price of a lock and no system call.
	if p.other.writing.TryLock() {
		defer p.other.writing.Unlock()
		return p.other.refused
	}
	if !disconnected(p.src) {
		return false
	}
	// A write to a connection that is gone does not wait: nor do we.
	p.other.writing.Lock()
	defer p.other.writing.Unlock()
	return p.other.refused
}

func (p *pump) gone(client bool) transport.Status {
	if client {
		return transport.ClientGone
	}
	return transport.TargetGone
}

// move returns nil when the source ended in order and everything was
// delivered, errSource, errSink, errParked, or net.ErrClosed when the flow was ended.
func (p *pump) move() error {
	if len(p.early) > 0 {
		early := p.early
		p.early = nil
		wait, err := p.write(early)
		if err != nil {
			return err
		}
		p.f.pause(wait)
	}
	if p.ready == nil {
		p.ready = transport.NewReady(p.src)
	}
	pool := &small
	for {
		b, n, err := p.ready.Read(pool)
		if n == 0 {
			if !p.askedFor(err) {
				return p.sourceEnd(err)
			}
			if p.park() {
				return errParked
			}
			continue
		}
		wait, err := p.write((*b)[:n])
		pool.Put(b)
		pool = &small
		if n >= smallRead && wait == 0 {
			pool = &bulk
		}
		if err != nil {
			return err
		}
		p.f.pause(wait)
	}
}

// write delivers b and returns the pause that the account asks for. That comes
// after the buffer is given back.
func (p *pump) write(b []byte) (wait time.Duration, err error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	n, err := p.dst.Write(b)
	if n > 0 {
		wait = p.f.moved(p.up, n)
	}
	if err != nil {
		return 0, p.sinkEnd(err)
	}
	return wait, nil
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

// sinkEnd names the end of a direction whose sink took no more; under writing.
func (p *pump) sinkEnd(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	// A peer that has closed its end in order answers our bytes with a reset,
	// too; that is EPIPE, and what it sent before is complete.
	p.refused = !errors.Is(err, syscall.EPIPE)
	return errSink
}
