package transport

import (
	"io"
	"sync"
)

const (
	recordSize = 16 << 10
	// heldSize is four full records, with what TLS 1.3 adds to each.
	heldSize = 4 * (recordSize + 22)
)

var heldBuffers = sync.Pool{New: func() any { b := make([]byte, 0, heldSize); return &b }}

// Records passes on what a TLS layer writes, one record at a time, or several together
// for a [Holder]: each by itself is a system call, which costs more than its encryption.
type Records struct {
	// To is where they go.
	To io.Writer

	mu     sync.Mutex // records leave in the order of their numbers
	holds  bool
	held   *[]byte // nil: nothing
	broken error   // a record may have gone in part: none can follow
}

// Hold keeps the records that follow until Release, or until there are four full ones.
func (r *Records) Hold() {
	r.mu.Lock()
	r.holds = true
	r.mu.Unlock()
}

// Release writes what was kept.
func (r *Records) Release() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds = false
	return r.flush()
}

// flush is under mu.
func (r *Records) flush() error {
	if r.held == nil {
		return r.broken
	}
	if r.broken == nil {
		_, r.broken = r.To.Write(*r.held)
	}
	*r.held = (*r.held)[:0]
	heldBuffers.Put(r.held)
	r.held = nil
	return r.broken
}

// Write implements io.Writer, for one record.
func (r *Records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.broken != nil:
		return 0, r.broken
	case !r.holds:
		return r.To.Write(b)
	case r.held != nil && len(*r.held)+len(b) > heldSize:
		if err := r.flush(); err != nil {
			return 0, err
		}
	}
	if r.held == nil {
		r.held = heldBuffers.Get().(*[]byte)
	}
	*r.held = append(*r.held, b...)
	return len(b), nil
}
