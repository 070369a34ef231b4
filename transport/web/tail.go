package web

import "time"

// tail is an uplink in one request.
type tail interface {
	uplink
	lend(f func()) bool
	notifyOnce(f func())
	setDeadline(time.Time)
}

// follow takes all of the uplink from b.
func (q *queue) follow(b tail) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return q.err
	case q.tail != nil || q.next > 0 || len(q.pieces) > 0:
		return errTwice
	}
	q.tail = b
	b.setDeadline(q.until)
	q.tell()
	return nil
}

// lend gives f to the handler of the only request of the uplink.
func (q *queue) lend(f func()) bool {
	q.mu.Lock()
	b := q.tail
	q.mu.Unlock()
	return b != nil && b.lend(f)
}

// finish ends the uplink when what is here of it has been read. Pieces have no last
// one: a client that has been told the end of the downlink sends no more, as its own
// end is the end of the stream to it.
func (q *queue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = true
	q.tell()
}

// notifyOnce calls f once, in a goroutine of its own, when there is something to read.
func (q *queue) notifyOnce(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notify = f
	q.tell()
}

// tell wakes who waits, and who wants to be called; under mu.
func (q *queue) tell() {
	q.changed.Broadcast()
	if f := q.notify; f != nil && q.readable() {
		q.notify = nil
		if q.tail != nil {
			q.tail.notifyOnce(f)
			return
		}
		go f()
	}
}

// setDeadline is SetReadDeadline. Reading can go on behind one.
func (q *queue) setDeadline(t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.until = t
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		q.timer = time.AfterFunc(wait, q.wake)
	}
	if q.tail != nil {
		q.tail.setDeadline(t)
	}
	q.changed.Broadcast()
}
