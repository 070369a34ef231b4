package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// How a connection can end, seen from our side.
const (
	endFIN     = "FIN"
	endRST     = "RST"
	endOpen    = "still open"
	endMore    = "more than we read"
	endRefused = "not connected"
	endOurs    = "ended by us"
)

const (
	maxRead    = 256 << 10 // of an answer; no probe asks for more than a page
	connectFor = 10 * time.Second
	writeFor   = 10 * time.Second
)

// settings are what probes have to know about the pair of servers.
type settings struct {
	name     string        // server name of good hellos, may be empty
	host     string        // for Host headers
	recorded []byte        // a user's hello
	only12   bool          // the reference does not complete a handshake of TLS 1.3
	blind    bool          // nor one of TLS 1.2
	settle   time.Duration // of silence, after which a quick probe looks no longer
	deadline time.Duration // for slow probes
}

// conn is one connection to one of the two servers and the record of all that
// came back. The probe's function sends; a goroutine reads all the time.
type conn struct {
	settings
	tcp   *net.TCPConn
	trip  time.Duration // of the handshake of TCP
	start time.Time
	ctx   context.Context
	tls   *session // when the probe completed a handshake
	h2    bool     // what is inside is HTTP/2
	deaf  bool     // there was a time when we did not read

	mu      sync.Mutex
	got     []byte
	first   time.Duration // of the first byte, if got is not empty
	last    time.Duration // of the last one
	end     string        // empty while the connection is open
	endAt   time.Duration
	after   string        // what became of bytes sent after the server's end
	ours    bool          // we ended the connection
	halved  bool          // we ended our half
	reset   bool          // a write was told of a reset, so no read will be
	missed  int           // bytes that came after we had stopped reading
	held    chan struct{} // closed once we read again; nil while we do
	changed chan struct{}
}

// open connects. A server that cannot be reached is an outcome, not an error.
func open(ctx context.Context, address string, s settings, p Probe) *conn {
	c := &conn{settings: s, ctx: ctx, changed: make(chan struct{})}
	d := net.Dialer{Timeout: connectFor, KeepAlive: -1}
	if p.narrow {
		d.Control = narrow
	}
	began := time.Now()
	nc, err := d.DialContext(ctx, "tcp", address)
	c.start = time.Now()
	c.trip = c.start.Sub(began)
	if err != nil {
		c.end = endRefused
		return c
	}
	c.tcp = nc.(*net.TCPConn)
	go c.read()
	return c
}

// read records until the connection ends. It ends with the connection, which
// observe closes.
func (c *conn) read() {
	buf := make([]byte, 32<<10)
	for {
		c.listen()
		n, err := c.tcp.Read(buf)
		at := time.Since(c.start)
		c.mu.Lock()
		if c.end != "" { // observe has stopped looking
			c.mu.Unlock()
			return
		}
		if n > 0 {
			if len(c.got) == 0 {
				c.first = at
			}
			c.last = at
			if c.deaf {
				c.missed += n
			} else {
				c.got = append(c.got, buf[:n]...)
			}
		}
		switch {
		case c.ours:
			c.end = endOurs
		case len(c.got) > maxRead:
			c.end = endMore
		case errors.Is(err, io.EOF) && !c.reset:
			c.end = endFIN
		case err != nil:
			c.end = endRST
		}
		over := c.end != ""
		if over {
			c.endAt = at
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if over {
			return
		}
	}
}

// listen waits while we do not read.
func (c *conn) listen() {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	if held != nil {
		<-held
	}
}

// deafen stops reading, after what the read under way may bring.
func (c *conn) deafen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf, c.held = true, make(chan struct{})
}

// hear reads again.
func (c *conn) hear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		close(c.held)
		c.held = nil
	}
}

// ended says whether the server has ended the connection.
func (c *conn) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end != ""
}

// send writes unless the connection has ended, and says whether it could.
func (c *conn) send(b ...[]byte) bool {
	if c.ended() {
		return false
	}
	return c.write(join(b...))
}

func (c *conn) write(b []byte) bool {
	_ = c.tcp.SetWriteDeadline(time.Now().Add(writeFor))
	_, err := c.tcp.Write(b)
	if isReset(err) {
		c.mu.Lock()
		c.reset = true
		if c.end == endFIN {
			c.after = endRST
		}
		c.mu.Unlock()
	}
	return err == nil
}

// isReset knows a reset. The kernel tells it once, to a reader or a writer.
func isReset(err error) bool {
	const wsaReset = syscall.Errno(10054) // what Windows says
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, wsaReset)
}

// pace sends in pieces of n bytes with a pause after each.
func (c *conn) pace(b []byte, n int, pause time.Duration) {
	for len(b) > 0 {
		k := min(n, len(b))
		if !c.send(b[:k]) {
			return
		}
		b = b[k:]
		if len(b) > 0 && !c.pause(pause) {
			return
		}
	}
}

// pause waits, and says whether the connection is still there and the probe
// still has time.
func (c *conn) pause(d time.Duration) bool {
	left := c.deadline - time.Since(c.start)
	if left <= 0 {
		return false
	}
	t := time.NewTimer(min(d, left))
	defer t.Stop()
	for {
		c.mu.Lock()
		changed, over := c.changed, c.end != ""
		c.mu.Unlock()
		if over {
			return false
		}
		select {
		case <-t.C:
			return true
		case <-changed:
		case <-c.ctx.Done():
			return false
		}
	}
}

// until waits for enough to say yes to what has come, for a bounded time.
func (c *conn) until(enough func(got []byte) bool) bool {
	t := time.NewTimer(2*time.Second + 4*c.trip)
	defer t.Stop()
	for {
		c.mu.Lock()
		changed, over, ok := c.changed, c.end != "", enough(c.got)
		c.mu.Unlock()
		if ok || over {
			return ok
		}
		select {
		case <-t.C:
			return false
		case <-changed:
		case <-c.ctx.Done():
			return false
		}
	}
}

// received is how many bytes have come.
func (c *conn) received() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// answer waits until more has come than before, and then for a moment of silence.
func (c *conn) answer(before int) bool {
	return c.until(func(got []byte) bool { return len(got) > before }) && c.quiet()
}

// quiet waits for a moment of silence, and says whether the connection is still
// there. What is sent after it meets a server that has done all it had to do:
// how answers are cut into records does not depend on a race then.
func (c *conn) quiet() bool {
	for n := -1; n != c.received(); {
		n = c.received()
		if !c.pause(max(40*time.Millisecond, 2*c.trip)) {
			return false
		}
	}
	return true
}

// finish ends our half.
func (c *conn) finish() {
	c.halved = true // even if the server was faster this time
	if c.tcp != nil && !c.ended() {
		_ = c.tcp.CloseWrite()
	}
}

// abort resets the connection.
func (c *conn) abort() {
	c.mu.Lock()
	c.ours = true
	c.mu.Unlock()
	if c.tcp != nil {
		_ = c.tcp.SetLinger(0)
		_ = c.tcp.Close()
	}
}

func (c *conn) close() {
	if c.tcp != nil {
		c.tcp.Close()
	}
}

// observe waits for the end, or for as long as the probe looks, and then closes.
func (c *conn) observe(slow bool) {
	if c.tcp == nil {
		return
	}
	defer c.tcp.Close()
	c.hear()
	limit := time.NewTimer(c.deadline - time.Since(c.start))
	defer limit.Stop()
	for {
		quiet := c.settle
		if slow {
			quiet = c.deadline
		}
		t := time.NewTimer(quiet)
		c.mu.Lock()
		changed, over := c.changed, c.end != ""
		c.mu.Unlock()
		if over {
			t.Stop()
			c.afterEnd()
			return
		}
		select {
		case <-changed:
			t.Stop()
			continue
		case <-t.C:
		case <-limit.C:
		case <-c.ctx.Done():
		}
		t.Stop()
		c.mu.Lock()
		if c.end == "" {
			c.end = endOpen
		}
		c.ours = true
		c.mu.Unlock()
		return
	}
}

// afterEnd sends after the server's orderly end: one that has closed its
// socket answers with a reset, one that only ended its half takes the bytes.
func (c *conn) afterEnd() {
	if c.end != endFIN || c.halved || c.after != "" {
		return
	}
	// Several times: on a busy machine a server may be stopped in its close.
	for range 4 {
		if !c.write([]byte{0}) {
			c.after = endRST
			return
		}
		t := time.NewTimer(max(80*time.Millisecond, 2*c.trip))
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
		}
	}
	c.after = "takes bytes"
}

//go:noinline
func join(parts ...[]byte) []byte {
	if len(parts) == 1 {
		return parts[0]
	}
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
