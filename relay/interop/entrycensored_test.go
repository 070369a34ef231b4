package interop

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// noticeTime is within which a stream has to end whose carrier stands still, and a
	// new one has to work.
	noticeTime = 5 * time.Second
	// slowMachine is what this machine may take for itself, when it does other things.
	slowMachine = 2 * time.Second
)

// named is a site by the name that the exit knows.
func named(o *originSite) string {
	_, port, _ := net.SplitHostPort(o.addr)
	return "http://" + net.JoinHostPort(knownName, port)
}

// TestEntryLimited has a censor that lets six connections to one name pass.
func TestEntryLimited(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, kind := range []string{"xhttp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			e, o := newExit(t), startOrigin(t, false)
			c := newCensor(t, e.addr, censorRules{Connections: 6, Names: []string{coverName}})
			via := curlSOCKS5h.via(connect(t, e.link(t, kind, c.addr)).proxy("socks5"))
			var together sync.WaitGroup
			together.Go(func() { curlTogether(t, via, o, named(o)) })
			curlFile(t, via, fmt.Sprintf("%s/bytes/%d", named(o), entryBytes), patternSum(entryBytes))
			together.Wait()
			for _, f := range c.seen() {
				if f.Refused != "" {
					t.Errorf("a connection was refused: %s; want none", f.Refused)
				}
			}
		})
	}
}

// TestEntryFrozen has a censor that lets no more than 16 kB down on each connection: what
// is larger fails soon, and what is small works.
func TestEntryFrozen(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, c := range []struct {
		name, kind, front string
		rules             censorRules
	}{
		{"16 kB", "xhttp", "", censorRules{Freeze: 16 << 10}},
		{"14 to 20 kB", "xhttp", "", censorRules{Freeze: 14 << 10, FreezeMost: 20 << 10}},
		{"WebSocket", "ws", "", censorRules{Freeze: 16 << 10}},
		{"HTTP/1.1, 16 kB", "xhttp", plainFront, censorRules{Freeze: 16 << 10}},
		{"HTTP/1.1, 14 to 20 kB", "xhttp", plainFront, censorRules{Freeze: 14 << 10, FreezeMost: 20 << 10}},
		{"HTTP/1.1, one direction", "xhttp", plainFront, censorRules{Freeze: 16 << 10, FreezeDown: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			entryFrozen(t, c.kind, c.front, c.rules)
		})
	}
}

// plainFront has pieces go over HTTP/1.1.
const plainFront = "[[upstream.front]]\nversion = \"http/1.1\"\nmode = \"packet-up\"\n"

func entryFrozen(t *testing.T, kind, front string, rules censorRules) {
	e, o := newExit(t), startOrigin(t, false)
	c := newCensor(t, e.addr, rules)
	proxy := entry(t, upstream(e.link(t, kind, c.addr))+front, "").proxy("socks5")
	via := curlSOCKS5h.via(proxy)
	began := time.Now()
	res := curl(t, nil, append(via, named(o)+"/bytes/1048576")...)
	ended := time.Now()
	frozen := c.frozen()
	if res.ExitCode == 0 || frozen.IsZero() {
		t.Fatalf("1 MiB: got exit %d, %d bytes and a freeze at %v, want an error", res.ExitCode, len(res.Body), frozen)
	}
	t.Logf("1 MiB: exit %d after %d bytes, %v after the beginning, %v after the freeze", res.ExitCode, len(res.Body), ended.Sub(began), ended.Sub(frozen))
	if late := ended.Sub(frozen); late > noticeTime+slowMachine {
		t.Errorf("the error came %v after the freeze, want at most %v", late, noticeTime)
	}
	curl(t, nil, append(via, named(o)+"/hello")...).check(t, greeting)
	if took := time.Since(ended); took > noticeTime+slowMachine {
		t.Errorf("the next request took %v, want at most %v", took, noticeTime)
	}
	client := manyRequests(proxy)
	for i := range 100 {
		size := 80 * (i + 1)
		if err := request(t, client, shortLimit, "GET", fmt.Sprintf("%s/bytes/%d", named(o), size), nil, whole(size)); err != nil {
			t.Errorf("request %d, of %d bytes: %v", i+1, size, err)
		}
	}
	t.Logf("connections: %d, at most %d at a time", len(c.seen()), c.peak())
}

// frozen is when the last freeze was.
func (c *censor) frozen() (last time.Time) {
	for _, f := range c.seen() {
		if f.Frozen.After(last) {
			last = f.Frozen
		}
	}
	return last
}

// manyRequests is a client that makes a connection for each request, and has the proxy
// look up names.
func manyRequests(proxy *url.URL) *http.Client {
	proxy.Scheme = "socks5h"
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true, DisableCompression: true}}
}

// whole wants a body of that size.
func whole(size int) func(io.Reader) error {
	return func(r io.Reader) error {
		n, err := io.Copy(io.Discard, r)
		if err == nil && n != int64(size) {
			err = fmt.Errorf("got %d bytes, want %d", n, size)
		}
		return err
	}
}

// TestEntryBlackhole has a front whose first address does not answer.
func TestEntryBlackhole(t *testing.T) {
	integration(t)
	t.Parallel()
	e, o := newExit(t), startOrigin(t, false)
	text := upstream(e.link(t, "xhttp", e.addr)) + fmt.Sprintf("[[upstream.front]]\nconnect = [%q, %q]\nprivate = true\n", blackhole(t), e.addr)
	via := curlSOCKS5h.via(entry(t, text, "").proxy("socks5"))
	began := time.Now()
	curl(t, nil, append(via, named(o)+"/hello")...).check(t, greeting)
	if took := time.Since(began); took > 3*time.Second+slowMachine {
		t.Errorf("first byte: got it after %v, want at most 3 s more than without the dead address", took)
	}
	began = time.Now()
	curl(t, nil, append(via, named(o)+"/hello")...).check(t, greeting)
	t.Logf("the next request: %v", time.Since(began))
}

// TestEntryReset has two links, of which the first is reset at its hello.
func TestEntryReset(t *testing.T) {
	integration(t)
	t.Parallel()
	e, o := newExit(t), startOrigin(t, false)
	dead, live := newCensor(t, e.addr, censorRules{ResetHello: true}), newCensor(t, e.addr, censorRules{})
	via := curlSOCKS5h.via(connect(t, e.link(t, "xhttp", dead.addr), e.link(t, "xhttp", live.addr)).proxy("socks5"))
	began := time.Now()
	for range 20 {
		curl(t, nil, append(via, named(o)+"/hello")...).check(t, greeting)
	}
	if took := time.Since(began); took > slowMachine {
		t.Errorf("20 requests took %v, want the second link at once", took)
	}
	if n, m := len(dead.seen()), len(live.seen()); n == 0 || n > 3 || m == 0 || m > mostAtOnce {
		t.Errorf("connections: got %d by the dead link and %d by the other, want a few of both", n, m)
	}
}

// TestEntryExitKilled kills the exit under streams: they end with errors, nobody tries
// again all the time, and when the exit is back requests work.
func TestEntryExitKilled(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, kind := range []string{"xhttp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			entryKilled(t, kind)
		})
	}
}

func entryKilled(t *testing.T, kind string) {
	const (
		streams = 8
		downFor = 6 * time.Second
		// mostTries is how many connections in that time are no loop: one a second
		// for each that may be there at a time.
		mostTries = 20
	)
	e, o := newExit(t), startOrigin(t, false)
	c := newCensor(t, e.addr, censorRules{})
	_, trickling, _ := net.SplitHostPort(listen(t, trickle))
	proxy := connect(t, e.link(t, kind, c.addr)).proxy("socks5")
	var ended sync.WaitGroup
	var begun atomic.Int32
	over := make(chan struct{})
	for range streams {
		ended.Go(func() {
			err := request(t, manyRequests(proxy), longLimit, "GET", "http://"+net.JoinHostPort(knownName, trickling), nil, func(r io.Reader) error {
				begun.Add(1)
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if err == nil {
				t.Error("a stream under which the exit was killed: got a good end, want an error")
			}
		})
	}
	settle(t, 0, 10*time.Second, func() int { return streams - int(begun.Load()) })
	e.kill()
	killed := time.Now()
	go func() { ended.Wait(); close(over) }()
	select {
	case <-over:
		t.Logf("the streams ended %v after the exit", time.Since(killed))
	case <-time.After(noticeTime + slowMachine):
		t.Errorf("got streams that have not ended %v after the exit, want errors", noticeTime)
	}
	// People try again.
	var tries, worked atomic.Int32
	var people sync.WaitGroup
	for range 4 {
		people.Go(func() {
			for time.Since(killed) < downFor {
				tries.Add(1)
				if request(t, manyRequests(proxy), shortLimit, "GET", named(o)+"/hello", nil, whole(len(greeting))) == nil {
					worked.Add(1)
				}
				pause(t, 50*time.Millisecond)
			}
		})
	}
	people.Wait()
	if n := c.attempts(killed); n > mostTries {
		t.Errorf("connections in %v without an exit, for %d requests: got %d, want at most %d", downFor, tries.Load(), n, mostTries)
	} else {
		t.Logf("connections in %v without an exit, for %d requests: %d", downFor, tries.Load(), n)
	}
	if n := worked.Load(); n > 0 {
		t.Errorf("requests that worked without an exit: got %d, want 0", n)
	}
	e.start(t)
	back := time.Now()
	for {
		err := request(t, manyRequests(proxy), shortLimit, "GET", named(o)+"/hello", nil, whole(len(greeting)))
		if err == nil {
			break
		}
		if time.Since(back) > 20*time.Second {
			t.Fatalf("got no answer 20 s after the exit was back: %v", err)
		}
		pause(t, 100*time.Millisecond)
	}
	t.Logf("an answer %v after the exit was back", time.Since(back))
}

// trickle is a web server whose answer has no end.
func trickle(c *net.TCPConn) {
	_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	for b := make([]byte, 1<<10); err == nil; time.Sleep(20 * time.Millisecond) {
		_, err = c.Write(b)
	}
}
