package h2_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"relay/relay/relaytest"
	"relay/transport/h2"
)

// transcript is what a stranger hears who says these pieces, and when: golang.org/x/net's
// server alone, or behind a fork.
func transcript(t *testing.T, pieces []string, behind, ends bool) string {
	t.Helper()
	near, far := relaytest.Pipe()
	defer near.Close()
	var c net.Conn = far
	if behind {
		c = h2.NewFork(far, func(head h2.Head) bool { return head.Path == "/ours" })
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Date"] = nil
		fmt.Fprint(w, r.URL.Path)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		//lint:ignore SA1019 net/http takes listeners only
		(&http2.Server{IdleTimeout: time.Minute}).ServeConn(c, &http2.ServeConnOpts{Handler: handler, BaseConfig: &http.Server{ErrorLog: log.New(io.Discard, "", 0)}})
	}()
	var out strings.Builder
	heard := make(chan struct{})
	var mu sync.Mutex
	var got []byte
	go func() {
		defer close(heard)
		b := make([]byte, 4096)
		for {
			n, err := near.Read(b)
			mu.Lock()
			got = append(got, b[:n]...)
			if err != nil {
				got = fmt.Appendf(got, "then %v", err)
			}
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	note := func(what string) {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&out, "%s: %q\n", what, got)
		got = nil
	}
	note("first")
	for i, p := range pieces {
		_, err := io.WriteString(near, p)
		note(fmt.Sprintf("piece %d, %v", i, err))
	}
	if ends {
		_ = near.CloseWrite()
		note("end")
	}
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 2 * time.Minute} {
		time.Sleep(wait)
		note(fmt.Sprintf("after %v more", wait))
	}
	_ = near.Close()
	<-heard
	<-done
	return out.String()
}

// cuts are the pieces that a client may say a thing in.
func cuts(in string) (all [][]string) {
	all = append(all, []string{in})
	for _, size := range []int{1, 9, 24, 33} {
		var pieces []string
		for rest := in; len(rest) > 0 && len(pieces) < 200; {
			n := min(size, len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		all = append(all, pieces)
	}
	return all
}

// TestForkStrangers: who is not ours hears what golang.org/x/net's server says, byte for
// byte, after each piece of what he says and after each silence, and ends with it.
func TestForkStrangers(t *testing.T) {
	ins := map[string]string{
		"HTTP/1.1":                "GET / HTTP/1.1\r\n\r\n",
		"half a preface":          http2.ClientPreface[:10],
		"a wrong preface":         http2.ClientPreface[:23] + "x" + settingsFrame,
		"CONTINUATION's header":   http2.ClientPreface + settingsFrame + frame(http2.FrameContinuation, 4, 1, getBlock)[:9],
		"a long frame's header":   http2.ClientPreface + settingsFrame + frame(0x77, 0, 0, string(make([]byte, 2000)))[:9],
		"too long a frame's":      http2.ClientPreface + settingsFrame + "\x10\x00\x01\x77\x00\x00\x00\x00\x00",
		"a second request":        http2.ClientPreface + settingsFrame + getFrame + frame(http2.FrameHeaders, 5, 3, "\x82\x87\x04\x05/ours\x01\x0fwww.example.org"),
		"a body behind the first": http2.ClientPreface + settingsFrame + frame(http2.FrameHeaders, 4, 1, getBlock) + frame(http2.FrameData, 1, 1, "body"),
	}
	for _, o := range openings {
		ins[o.name] = http2.ClientPreface + o.in
	}
	// golang.org/x/net's server keeps channels in a pool, and those of a bubble are for
	// that bubble only.
	empty := func() { runtime.GC(); runtime.GC() }
	empty()
	defer empty()
	synctest.Test(t, func(t *testing.T) {
		for name, in := range ins {
			ways := cuts(in)
			if first, second, ok := strings.Cut(in, getFrame); ok && second != "" {
				ways = [][]string{{first + getFrame, second}} // of two handlers either may be the first
			}
			for i, pieces := range ways {
				for _, ends := range []bool{false, true} {
					got, want := transcript(t, pieces, true, ends), transcript(t, pieces, false, ends)
					// It does not always say two things in the same order.
					for range 30 {
						if got == want {
							break
						}
						got, want = transcript(t, pieces, true, ends), transcript(t, pieces, false, ends)
					}
					if got != want {
						t.Errorf("%s, in pieces, way %d: got\n%s\nwant\n%s", name, i, got, want)
					}
				}
			}
		}
	})
}

// TestForkEnds: a connection that ends or is ended before its first request is nobody's
// to go on with.
func TestForkEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		say  string // by the other server, behind what it begins with
		do   func(f *h2.Fork)
		want bool
	}{
		{"acknowledges", ackFrame, nil, true},
		{"acknowledges and opens the window", ackFrame + windowFrame, nil, true},
		{"acknowledges nothing", "", nil, false},
		{"says GOAWAY", ackFrame + frame(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"), nil, false},
		{"says PING", ackFrame + frame(http2.FramePing, 0, 0, "12345678"), nil, false},
		{"writes half a frame", ackFrame + windowFrame[:10], nil, false},
		{"closes", ackFrame, func(f *h2.Fork) { _ = f.Close() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := relaytest.Pipe()
				defer near.Close()
				defer far.Close()
				asked := 0
				f := h2.NewFork(far, func(h2.Head) bool { asked++; return true })
				go func() { _, _ = io.Copy(io.Discard, near) }()
				_, _ = io.WriteString(near, http2.ClientPreface+settingsFrame)
				_, _ = f.Write([]byte(serverFrames))
				if _, err := io.ReadFull(f, make([]byte, 24+len(settingsFrame))); err != nil {
					t.Fatalf("Read: got %v, want the preface and SETTINGS", err)
				}
				if _, err := f.Write([]byte(tt.say)); err != nil {
					t.Fatalf("Write: got %v, want nil", err)
				}
				if tt.do != nil {
					tt.do(f)
				}
				_, _ = io.WriteString(near, getFrame)
				n, err := f.Read(make([]byte, 100))
				if taken := f.Taken() != nil; taken != tt.want || taken != (err == io.EOF && n == 0) {
					t.Errorf("Taken: got %v, and %d bytes and %v for the other server, want %v", taken, n, err, tt.want)
				}
				if asked > 1 {
					t.Errorf("asked %d times whose the request is, want once", asked)
				}
			})
		})
	}
}

// failing fails to read behind what there is, with an error of its own.
type failing struct{ *replay }

var errOwn = errors.New("own")

func (f failing) Read(b []byte) (int, error) {
	n, err := f.replay.Read(b)
	if err != nil {
		err = errOwn
	}
	return n, err
}

// TestForkFails: the other server hears why reading has failed, behind all that has come.
func TestForkFails(t *testing.T) {
	in := http2.ClientPreface + settingsFrame + windowFrame + getFrame
	for n := range len(in) {
		r := &replay{in: []byte(in[:n]), piece: 10, start: make(chan struct{})}
		close(r.start)
		got, err := io.ReadAll(h2.NewFork(failing{r}, func(h2.Head) bool { return true }))
		if string(got) != in[:n] || err != errOwn {
			t.Errorf("reset behind %d bytes: got %d and %v, want them and the error", n, len(got), err)
		}
	}
}
