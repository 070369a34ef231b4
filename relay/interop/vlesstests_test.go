package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

const (
	longLimit  = 3 * time.Minute // for a GiB, on a machine that does other things too
	shortLimit = 20 * time.Second
)

// through is an HTTP client behind a SOCKS5 proxy.
func through(via *url.URL, direct *http.Client) *http.Client {
	transport := direct.Transport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(via)
	transport.DisableCompression = true
	return &http.Client{Transport: transport}
}

// request makes a request and hands its body over to take.
func request(t *testing.T, c *http.Client, limit time.Duration, method, link string, body io.Reader, take func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, link, body)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: got status %s, want 200", link, resp.Status)
	}
	return take(resp.Body)
}

func download(t *testing.T, u *vlessUse) error {
	return fetch(t, u, startOrigin(t, false), u.long(u.server.down))
}

// long is the size of a long transfer.
func (u *vlessUse) long(size int64) int64 {
	if u.way.brief {
		return size / 8
	}
	return size
}

// secureInside is what most of the traffic is: TLS in the tunnel's TLS.
func secureInside(t *testing.T, u *vlessUse) error {
	return fetch(t, u, startOrigin(t, true), 20<<20)
}

// fetch compares the hashes of both sides.
func fetch(t *testing.T, u *vlessUse, o *originSite, size int64) error {
	h := sha256.New()
	began := time.Now()
	err := request(t, through(u.via, o.Client()), longLimit, "GET", fmt.Sprintf("%s/bytes/%d", o.URL, size), nil, func(r io.Reader) error {
		n, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 256<<10))
		if err == nil && n != size {
			err = fmt.Errorf("got %d bytes, want %d", n, size)
		}
		return err
	})
	if err != nil {
		return err
	}
	if got, want := sum(h), o.sentSum(t); got != want {
		return fmt.Errorf("sum: got %s, want %s", got, want)
	}
	t.Logf("%d MiB, %.0f MiB/s", size>>20, float64(size>>20)/time.Since(began).Seconds())
	return nil
}

func upload(t *testing.T, u *vlessUse) error {
	o, size, h := startOrigin(t, false), u.long(u.server.up), sha256.New()
	began := time.Now()
	body := io.TeeReader(pattern(size), h)
	return request(t, through(u.via, o.Client()), longLimit, "PUT", o.URL+"/sum", body, func(r io.Reader) error {
		got, err := io.ReadAll(r)
		if want := fmt.Sprintf("%d %s", size, sum(h)); err == nil && string(got) != want {
			err = fmt.Errorf("got %s at the origin, want %s", got, want)
		}
		t.Logf("%d MiB, %.0f MiB/s", size>>20, float64(size>>20)/time.Since(began).Seconds())
		return err
	})
}

// together holds 64 requests at the origin until the last of them has come.
func together(t *testing.T, u *vlessUse) error {
	o := startOrigin(t, false)
	o.together = 64
	return atOnce(o.together, func(i int) error {
		return request(t, through(u.via, o.Client()), shortLimit, "GET", fmt.Sprintf("%s/together/%d", o.URL, i), nil, func(r io.Reader) error {
			got, err := io.ReadAll(r)
			if want := fmt.Sprintf("number %d", i); err == nil && string(got) != want {
				err = fmt.Errorf("got %q, want %q", got, want)
			}
			return err
		})
	})
}

// atOnce runs f(0) to f(n-1) at the same time and joins their errors.
func atOnce(n int, f func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	var all []error
	for range n {
		if err := <-errs; err != nil {
			all = append(all, err)
		}
	}
	if len(all) > 3 {
		return fmt.Errorf("%d of %d failed: %w", len(all), n, errors.Join(all[:3]...))
	}
	return errors.Join(all...)
}

// originEnds has an origin that closes at once behind its answer: none of it may
// be lost, and the end has to arrive.
func originEnds(t *testing.T, u *vlessUse) error {
	answer := patternBytes(200 << 10)
	addr := listen(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 5))
		_, _ = c.Write(answer)
	})
	return atOnce(64, func(int) error {
		c, err := tryVia(u.via, addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(shortLimit))
		if _, err := io.WriteString(c, "hello"); err != nil {
			return err
		}
		return wants(c, answer)
	})
}

// wants reads to the end.
func wants(c net.Conn, want []byte) error {
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("got %d bytes, want the %d sent", len(got), len(want))
	}
	return err
}

// besideStalled has targets that take nothing of what is more than all buffers on the
// way, on each connection that the client may have open, and others beside them.
func besideStalled(t *testing.T, u *vlessUse) error {
	const size = 6 << 20 // 2 of it in sockets
	over, sent := make(chan struct{}), make(chan struct{}, 6)
	defer close(over)
	addr := listen(t, func(c *net.TCPConn) {
		_ = c.SetReadBuffer(4 << 10)
		<-over
	})
	for range cap(sent) {
		c := dialVia(t, u.via, addr)
		defer c.Close()
		go func() {
			_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			_, _ = c.Write(make([]byte, size))
			sent <- struct{}{}
		}()
	}
	for range cap(sent) {
		<-sent
	}
	addr = listen(t, echo)
	return atOnce(2*cap(sent), func(int) error {
		c, err := tryVia(u.via, addr)
		if err != nil {
			return err
		}
		defer c.Close()
		return roundTrip(c, "hello", 5*time.Second)
	})
}

// halves ends the client's direction and wants the answer all the same. A client
// of Xray gives it a second.
func halves(t *testing.T, u *vlessUse, handle func(c *net.TCPConn) bool) error {
	answer := patternBytes(100 << 10)
	addr := listen(t, func(c *net.TCPConn) {
		if handle(c) {
			_, _ = c.Write(answer)
		}
	})
	c := dialVia(t, u.via, addr)
	_ = c.SetDeadline(time.Now().Add(shortLimit))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	return wants(c, answer)
}

func lateAnswer(t *testing.T, u *vlessUse) error {
	return halves(t, u, func(c *net.TCPConn) bool {
		_, err := io.ReadFull(c, make([]byte, 5))
		pause(t, 500*time.Millisecond)
		return err == nil
	})
}

// finArrives has an origin that answers only when it has seen the end.
func finArrives(t *testing.T, u *vlessUse) error {
	return halves(t, u, func(c *net.TCPConn) bool {
		b, err := io.ReadAll(c)
		return err == nil && string(b) == "hello"
	})
}

// unknownUser has the id of nobody, unknownPath a path that is nobody's.
func unknownUser(t *testing.T, u *vlessUse) error {
	l := u.server.links[u.way.link].with(u.way.changes)
	var id [16]byte
	_, _ = rand.Read(id[:])
	l.id = fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	return nothing(t, u, l)
}

func unknownPath(t *testing.T, u *vlessUse) error {
	changes := map[string]string{"path": "/nothing/here"}
	if early := u.way.changes["ed"]; early != "" {
		changes["path"] += "?ed=" + early
	}
	return nothing(t, u, u.server.links[u.way.link].with(u.way.changes).with(changes))
}

// nothing wants a client with that link to be refused, and nobody to be dialled.
func nothing(t *testing.T, u *vlessUse, l shareLink) error {
	var dialled atomic.Int32
	addr := listen(t, func(c *net.TCPConn) { dialled.Add(1); echo(c) })
	err := refusedAt(u.way.start(t, l, u.way), addr)
	if n := dialled.Load(); err == nil && n > 0 {
		err = fmt.Errorf("the origin: got %d connections, want none", n)
	}
	return err
}

// silentStream has said something once.
type silentStream struct {
	conn  *net.TCPConn
	via   *url.URL
	since time.Time
}

func openSilent(t *testing.T, via *url.URL) *silentStream {
	t.Helper()
	s := &silentStream{conn: dialVia(t, via, listen(t, echoLong)), via: via}
	if err := roundTrip(s.conn, "hello", shortLimit); err != nil {
		t.Fatalf("first stream: %v", err)
	}
	s.since = time.Now()
	return s
}

// echoLong is echo with more time than listen gives.
func echoLong(c *net.TCPConn) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Minute))
	echo(c)
}

// afterSilence wants the first stream to be as good as new.
func afterSilence(t *testing.T, u *vlessUse) error {
	pause(t, u.server.silent-time.Since(u.silent.since))
	return roundTrip(u.silent.conn, "still there?", shortLimit)
}
