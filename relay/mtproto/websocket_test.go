package mtproto

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"relay/transport"
)

// closedAddr is an address on which nobody listens.
func closedAddr(t *testing.T) string {
	ln := listen(t)
	_ = ln.Close()
	return ln.Addr().String()
}

// acceptWeb is what comes to the front, or a failure.
func (r *rig) acceptWeb(f *front) *served {
	r.t.Helper()
	s, err := f.accept()
	if err != nil {
		r.t.Fatalf("at the front: got %v, want a WebSocket", err)
	}
	return s
}

// TestFlowWebSocket takes a client to a data centre whose address is blocked, with
// a MiB in each direction and either side ending first.
func TestFlowWebSocket(t *testing.T) {
	up, down := bytes.Repeat([]byte("up the stream "), 75_000), bytes.Repeat([]byte("down again "), 95_500)
	for _, first := range []string{"client", "data centre"} {
		for _, reencrypt := range []bool{false, true} {
			t.Run(first, func(t *testing.T) {
				f := newFront(t)
				r := startChanged(t, func(in *Inbound) { in.DCs.roots, in.Reencrypt = f.roots, reencrypt }, closedAddr(t), f.url())
				opening, o := dials(22, r.keys.key("alice"), tagPadded, -2)
				raw := r.dial(append(opening, xored(o.forth, "hello")...))
				client := side{raw, o.forth, o.back}
				s := r.acceptWeb(f)
				dc := exchange{t: t, tag: tagPadded, as: -2}.dc(s)
				reads(t, dc, "hello", "at the data centre")
				go func() { _, _ = client.Write(bytes.Clone(up)) }()
				reads(t, dc, string(up), "at the data centre")
				go func() { _, _ = dc.Write(bytes.Clone(down)) }()
				reads(t, client, string(down), "at the client")
				// The pong to the ping in the middle of it.
				_, _ = io.WriteString(client, "more")
				reads(t, dc, "more", "at the data centre")
				if len(s.pongs) == 0 || s.pongs[0] != "ping" {
					t.Errorf("pongs: got %q, want one", s.pongs)
				}
				ends, stays := client, dc
				if first != "client" {
					ends, stays = dc, client
				}
				_, _ = io.WriteString(ends, "last words")
				_ = ends.Conn.(transport.Conn).CloseWrite()
				reads(t, stays, "last words", "at the other side")
				if got, err := io.ReadAll(stays); len(got) > 0 || err != nil {
					t.Errorf("at the other side: got %q, %v, want the end", got, err)
				}
				_, _ = io.WriteString(stays, "an answer to it")
				_ = stays.Conn.(transport.Conn).CloseWrite()
				if got, err := io.ReadAll(ends); string(got) != "an answer to it" || err != nil {
					t.Errorf("at the %s: got %q, %v, want the answer and the end", first, got, err)
				}
				r.ended(map[transport.Status]int64{transport.OK: 1})
			})
		}
	}
}

// A client that breaks off is broken off at the front, and the other way round.
func TestFlowWebSocketReset(t *testing.T) {
	for _, first := range []string{"client", "front"} {
		t.Run(first, func(t *testing.T) {
			f := newFront(t)
			r := startChanged(t, func(in *Inbound) { in.DCs.roots = f.roots }, f.url())
			opening, o := dials(23, r.keys.key("alice"), tagPadded, 2)
			raw := r.dial(append(opening, xored(o.forth, "hello")...))
			s := r.acceptWeb(f)
			dc := exchange{t: t, tag: tagPadded, as: 2}.dc(s)
			reads(t, dc, "hello", "at the data centre")
			breaks, notices := raw, net.Conn(s)
			want := transport.ClientGone
			if first == "front" {
				breaks, notices, want = s.raw, raw, transport.TargetGone
			}
			_ = breaks.SetLinger(0)
			_ = breaks.Close()
			if n, err := notices.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("at the other side: got %d bytes, %v, want ECONNRESET", n, err)
			}
			r.ended(map[transport.Status]int64{want: 1})
		})
	}
}

// A front that does not serve the data centre is a failure to reach it: a reset
// for the client, and the next one goes elsewhere.
func TestFlowWebSocketRefused(t *testing.T) {
	bad, good := newFront(t), newFront(t)
	bad.answer = func(string) string { return "HTTP/1.1 302 Found\r\nLocation: https://core.telegram.org/\r\n\r\n" }
	bad.roots.AddCert(good.leaf)
	r := startChanged(t, func(in *Inbound) { in.DCs.roots = bad.roots }, bad.url(), good.url())
	go func() { _, _ = bad.accept() }()
	opening, _ := dials(24, r.keys.key("alice"), tagPadded, 2)
	if n, err := r.dial(opening).Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("at the first client: got %d bytes, %v, want ECONNRESET", n, err)
	}
	opening, o := dials(25, r.keys.key("alice"), tagPadded, 2)
	second := r.dial(append(opening, xored(o.forth, "hello")...))
	s := r.acceptWeb(good)
	reads(t, exchange{t: t, tag: tagPadded, as: 2}.dc(s), "hello", "at the data centre")
	_ = second.Close()
	_ = s.Conn.Close()
	r.ended(map[transport.Status]int64{transport.DialFailed: 1, transport.OK: 1})
}

// A user who is cut off, or a relay that stops, does not wait for a front that
// says nothing.
func TestFlowWebSocketDrained(t *testing.T) {
	f := newFront(t)
	r := startRelay(t, f.url())
	opening, _ := dials(26, r.keys.key("alice"), tagPadded, 2)
	c := r.dial(opening)
	raw := r.accept(f.ln)
	if _, err := io.ReadFull(raw, make([]byte, 100)); err != nil { // of the hello
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r.srv.Shutdown(ctx)
	if took := time.Since(began); took > limit/2 {
		t.Errorf("Shutdown: got back after %v, want it at once", took)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("at the client: got %d bytes, %v, want an end", n, err)
	}
	if len(r.in.DCs.health.down) > 0 {
		t.Errorf("down: got %d ways, want none: the relay has stopped", len(r.in.DCs.health.down))
	}
}
