package splice

import (
	"slices"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// leastFrame is the record that is worth two system calls.
const leastFrame = 8 << 10

// framer is what puts headers between the payload of a direction that the kernel
// may move: nil where nothing does. ok is false where bytes are changed.
func (p *pair) framer(d int) (f transport.Framer, ok bool) {
	if len(p.codecs(d)) > 0 {
		return nil, false
	}
	for _, c := range p.codecs(1 - d) {
		if transport.PassesOut(c) {
			continue
		}
		var framed bool
		if f, framed = c.(transport.Framer); !framed || ok {
			return nil, false
		}
		ok = true
	}
	return f, true
}

// emptyFramed moves the n bytes in the pipe to the sink, with the headers that f
// wants. What does not fit any more is encoded and kept.
func (r *reactor) emptyFramed(p *pair, d, n int, f transport.Framer) {
	dst := &p.sides[1-d]
	orderly := p.ways[1-d].eof || peerEnded(dst.fd)
	for left, inRecord := n, 0; left > 0; {
		var rest []byte // of a header
		e := unix.Errno(0)
		if inRecord == 0 {
			rest, inRecord = f.Frame(r.a[:0], left)
			var m int
			if m, e = sendFlags(dst.fd, rest, unix.MSG_MORE); e == 0 {
				if rest = rest[m:]; len(rest) > 0 {
					e = unix.EAGAIN
				}
			}
		}
		if e == 0 {
			flags := uintptr(0)
			if inRecord < left {
				flags = unix.SPLICE_F_MORE
			}
			m := 0
			if m, e = moveFlags(r.pipe.r, int(dst.fd), inRecord, flags); e == 0 && m > 0 {
				left, inRecord = left-m, inRecord-m
				continue
			}
		}
		r.account(p, d, n-left)
		if e == unix.EAGAIN {
			r.keepFramed(p, d, slices.Clone(rest), left, inRecord, f)
			return
		}
		r.pipe.close() // with what is in it
		if e == 0 || left < n && !orderly {
			e = unix.ECONNRESET
		}
		r.sinkFailed(p, d, e)
		return
	}
	r.account(p, d, n)
}

// keepFramed keeps the left bytes in the pipe behind rest; the first inRecord of
// them have their header already.
func (r *reactor) keepFramed(p *pair, d int, rest []byte, left, inRecord int, f transport.Framer) {
	w := &p.ways[d]
	payload, err := r.pipe.drain(left)
	if err != nil {
		r.pipe.close()
		r.sinkFailed(p, d, unix.EIO)
		return
	}
	rest = append(rest, payload[:inRecord]...)
	for payload = payload[inRecord:]; len(payload) > 0; {
		size := 0
		rest, size = f.Frame(rest, len(payload))
		rest, payload = append(rest, payload[:size]...), payload[size:]
	}
	r.keepRest(w, rest)
	w.owed = left
	r.await(p, d, false)
}
