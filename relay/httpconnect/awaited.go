package httpconnect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"relay/relay/policy"
	"relay/transport"
)

// awaited is the target's side of an absolute-form request. For a target that is lost, or
// ends, before it has said anything it answers itself: through an upstream relay nobody
// knows before that whether it could be reached at all.
type awaited struct {
	transport.Conn
	method string
	said   atomic.Bool // the target has
	answer []byte      // in its place; nil: there is none
}

func newAwaited(far transport.Conn, hr *http.Request) *awaited {
	return &awaited{Conn: far, method: hr.Method}
}

// Read implements transport.Conn.
func (a *awaited) Read(b []byte) (n int, err error) {
	if a.said.Load() {
		return a.Conn.Read(b)
	}
	if a.answer == nil {
		if n, err = a.Conn.Read(b); n > 0 {
			a.said.Store(true)
			return n, err
		}
		if !a.missed(err) {
			return 0, err
		}
	}
	if len(a.answer) == 0 {
		return 0, io.EOF
	}
	n = copy(b, a.answer)
	a.answer = a.answer[n:]
	return n, nil
}

// WaitRead implements transport.ReadWaiter, as far as the target's connection does: else
// the Read that follows waits.
func (a *awaited) WaitRead() error {
	if a.answer != nil {
		return nil
	}
	err := transport.WaitRead(a.Conn)
	if errors.Is(err, errors.ErrUnsupported) || !a.said.Load() && a.missed(err) {
		return nil
	}
	return err
}

// missed reports whether err is the target's before it has said anything, and writes the
// answer then. Closing and deadlines are of whoever moves the bytes.
func (a *awaited) missed(err error) bool {
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		err = fmt.Errorf("%w: %w", policy.ErrTimeout, err)
	}
	status, text := refusal(err)
	var out bytes.Buffer
	_ = answer(&out, &http.Request{Method: a.method}, status, text)
	a.answer = out.Bytes()
	return true
}

// Write implements transport.Conn. What a target does not take before it has said anything
// is dropped: how that ends, reading tells, and a client is to hear of it and not to be
// reset.
func (a *awaited) Write(b []byte) (int, error) {
	n, err := a.Conn.Write(b)
	if err != nil && !errors.Is(err, net.ErrClosed) && !a.said.Load() {
		return len(b), nil
	}
	return n, err
}

// Below lets an abort reach the socket.
func (a *awaited) Below() transport.Conn { return a.Conn }
