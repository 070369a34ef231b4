package splice

import (
	"io"
	"slices"

	"relay/transport"
)

// end is one side of a pair, taken apart.
type end struct {
	conn   transport.Conn    // the innermost
	codecs []transport.Codec // from the innermost to the outermost
	unread []byte            // payload
	err    error             // why nothing can follow unread, if so
}

// peel takes the layers off a connection.
func peel(c transport.Conn) end {
	var e end
	for {
		d, ok := c.(transport.Detachable)
		if !ok {
			break
		}
		below, codec, unread := d.Detach()
		if below == c {
			break
		}
		e.take(unread)
		if codec != nil {
			e.codecs = append(e.codecs, codec)
		}
		c = below
	}
	slices.Reverse(e.codecs)
	e.conn = c
	return e
}

// take adds what a layer had read and those outside of it, which e.codecs holds
// outermost first, have not decoded. What they had read came before.
func (e *end) take(unread []byte) {
	if len(unread) == 0 || e.err != nil {
		return
	}
	codecs := slices.Clone(e.codecs)
	slices.Reverse(codecs)
	unread, e.err = decode(codecs, unread, func() []byte { return nil }, func([]byte) {})
	e.unread = append(e.unread, unread...)
}

// decode takes wire through codecs, from the innermost to the outermost. scratch
// gives a buffer for each result, keep is told of it. The error is io.EOF when
// the payload has ended in order.
func decode(codecs []transport.Codec, wire []byte, scratch func() []byte, keep func([]byte)) (payload []byte, err error) {
	payload = wire
	for _, c := range codecs {
		below := err
		payload, err = c.Decode(scratch(), payload)
		keep(payload)
		switch {
		case below == nil || err != nil:
		case below == io.EOF:
			// The end of what is inside is the end of the wire for this one.
			if err = c.Ended(); err == nil {
				err = io.EOF
			}
		default:
			err = below // behind what came before it
		}
	}
	return payload, err
}

// finish is what codecs say at the end, from the outermost to the innermost.
func finish(codecs []transport.Codec) (wire []byte) {
	for _, c := range slices.Backward(codecs) {
		if len(wire) > 0 {
			var err error
			if wire, err = c.Encode(nil, wire); err != nil {
				return nil
			}
		}
		wire = c.End(wire)
	}
	return wire
}

// replies reports whether a codec may have something to say by itself.
func (e *end) replies() bool {
	return slices.ContainsFunc(e.codecs, func(c transport.Codec) bool { _, ok := c.(transport.Replier); return ok })
}

// wrap puts the layers back, for the portable path.
func (e *end) wrap() transport.Conn {
	c := e.conn
	for _, codec := range e.codecs {
		c = transport.NewCoded(c, codec)
	}
	if e.err != nil {
		c = over{c, e.err}
	}
	return c
}

// over is a connection whose payload has ended.
type over struct {
	transport.Conn
	err error
}

func (o over) Read([]byte) (int, error) { return 0, o.err }
func (o over) WaitRead() error          { return nil }
func (o over) Below() transport.Conn    { return o.Conn }
