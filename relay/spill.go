package relay

import (
	"errors"
	"io"
	"sync"

	"relay/relay/splice"
	"relay/transport"
)

// mostSpill is what the cover gets in one write, where more has come than is kept for
// inbounds to look at.
const mostSpill = 64 << 10

// mostSpills is how many strangers are passed on in that way at once: a cover that takes
// nothing holds them up, with what they have said.
const mostSpills = 256

var spills = sync.Pool{New: func() any { return new([mostSpill]byte) }}

// spill passes on in one write what has come, if it is more than fits where it was
// gathered. In two, a cover that gives up behind the first one has read all that it has
// and ends; with the rest in its socket it would reset.
func (v *visit) spill(far transport.Conn) error {
	if len(v.p.Unread()) < transport.MaxPeek || !splice.HasInput(v.p) {
		return nil
	}
	defer v.conn.srv.spilling.Add(-1)
	if v.conn.srv.spilling.Add(1) > mostSpills {
		return nil // the core passes it on as it comes
	}
	b := spills.Get().(*[mostSpill]byte)
	defer spills.Put(b)
	n, kept := 0, len(v.p.Unread())
	for n < kept || n < len(b) && splice.HasInput(v.p) {
		m, err := v.p.Read(b[n:])
		n += m
		if errors.Is(err, io.EOF) {
			break // the core will read it again
		}
		if err != nil {
			return err
		}
	}
	v.fed += n
	_, err := far.Write(b[:n])
	return err
}
