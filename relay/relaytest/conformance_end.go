package relaytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// deadline: a client that stops at any byte costs as long as the deadline says.
func (k suite) deadline(t *testing.T) {
	for i := range len(k.o.Bytes) {
		k.bubble(t, 0, func(s *session) {
			s.say(k.o.Bytes[:i])
			s.open()
			<-s.opened
			s.failed(k.after(i), os.ErrDeadlineExceeded)
			if took := time.Since(s.began); took != handshake {
				t.Errorf("Open %s: got back after %v, want %v", k.after(i), took, handshake)
			}
		})
	}
}

// noReader: a client that never reads costs no more, wherever it blocks us.
func (k suite) noReader(t *testing.T) {
	for room := 1; room < len(k.o.Reply); room++ {
		k.bubble(t, 0, func(s *session) {
			client, server := newPair(room, s.client.local, s.client.remote)
			s.client, s.raw.Conn = client, server
			if err := server.SetDeadline(s.began.Add(handshake)); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(client, k.o.Bytes) }()
			s.open()
			<-s.opened
			if s.err == nil {
				far, target := Pipe()
				_, _, s.err = s.req.Accept(s.ctx, far)
				s.req = nil
				_, err := io.WriteString(far, "open")
				if err != nil {
					t.Errorf("far after a failed Accept: got %v, want it open for its owner", err)
				}
				_, _ = far.Close(), target.Close()
			}
			s.failed(fmt.Sprintf("or Accept with room for %d bytes of reply", room), os.ErrDeadlineExceeded)
			if took := time.Since(s.began); took != handshake {
				t.Errorf("with room for %d bytes of reply: got back after %v, want %v", room, took, handshake)
			}
			_ = client.Close()
			_ = server.Close()
		})
	}
}

// eof: the client ends its direction after any byte of the opening.
func (k suite) eof(t *testing.T) {
	for i := range len(k.o.Bytes) {
		k.bubble(t, 0, func(s *session) {
			s.open()
			s.say(k.o.Bytes[:i])
			synctest.Wait()
			before := len(s.raw.writes)
			_ = s.client.CloseWrite()
			<-s.opened
			s.failed(k.after(i)+" and EOF", io.EOF, io.ErrUnexpectedEOF)
			s.untold(before, k.after(i)+" and EOF")
		})
	}
}

// reset: the client resets the connection after any byte of the opening.
func (k suite) reset(t *testing.T) {
	for i := range len(k.o.Bytes) {
		k.bubble(t, 0, func(s *session) {
			s.open()
			s.say(k.o.Bytes[:i])
			synctest.Wait()
			before := len(s.raw.writes)
			_ = s.client.SetLinger(0)
			_ = s.client.Close()
			<-s.opened
			s.failed(k.after(i)+" and a reset", syscall.ECONNRESET, io.EOF, io.ErrUnexpectedEOF)
			s.untold(before, k.after(i)+" and a reset")
		})
	}
}

// untold checks that nobody spoke to a client that has gone, nor closed what is
// the caller's to close.
func (s *session) untold(before int, when string) {
	s.t.Helper()
	if got := s.raw.writes[before:]; len(got) > 0 {
		s.t.Errorf("written %s: got %q, want nothing", when, got)
	}
	if s.raw.closed {
		s.t.Errorf("connection %s: got closed by the inbound, want open", when)
	}
	if took := time.Since(s.began); took >= handshake {
		s.t.Errorf("Open %s: got back after %v, want at once", when, took)
	}
}

// cancel: the flow ends an opening by cancelling its context and closing its
// connection, in this order, at any byte.
func (k suite) cancel(t *testing.T) {
	for i := range len(k.o.Bytes) {
		k.bubble(t, 0, func(s *session) {
			s.open()
			s.say(k.o.Bytes[:i])
			synctest.Wait()
			s.cancel()
			synctest.Wait()
			_ = s.raw.Conn.Close()
			<-s.opened
			s.failed(k.after(i)+" and a cancel", net.ErrClosed, context.Canceled)
			s.untold(len(s.raw.writes), k.after(i)+" and a cancel")
		})
	}
	k.bubble(t, 0, func(s *session) {
		s.cancel()
		s.say(k.o.Bytes)
		s.open()
		<-s.opened // with a request or without, but at once
		if took := time.Since(s.began); took != 0 {
			t.Errorf("Open with a cancelled context: got back after %v, want at once", took)
		}
		s.quiet(s.err)
	})
}

// deny: every reason has its reply, in one write, or none where the protocol
// has no reply; the connection stays open for its owner.
func (k suite) deny(t *testing.T, denials []Denial) {
	if len(denials) == 0 {
		t.Fatal("denials: got 0, want the sentinels of auth and relay/policy")
	}
	for _, d := range denials {
		for _, reason := range []error{d.Reason, fmt.Errorf("wrapped: %w", d.Reason)} {
			k.bubble(t, 0, func(s *session) {
				s.say(k.o.Bytes)
				s.open()
				<-s.opened
				if s.err != nil {
					t.Errorf("Open: got %v, want a request", s.err)
					return
				}
				before := len(s.raw.writes)
				s.denied(reason, d.Reply)
				if got := s.raw.writes[before:]; d.Reply == "" && len(got) > 0 {
					t.Errorf("Deny(%v): got writes %q, want none", reason, got)
				} else if d.Reply != "" && (len(got) != 1 || got[0] != d.Reply) {
					t.Errorf("Deny(%v): got writes %q, want one of %q", reason, got, d.Reply)
				}
				if s.raw.closed {
					t.Errorf("connection after Deny(%v): got closed, want open", reason)
				}
			})
		}
	}
	k.denySlowly(t, denials[0])
}

// denied calls Deny: it works, or says that there is no reply.
func (s *session) denied(reason error, reply string) {
	s.t.Helper()
	if err := s.req.Deny(reason); (err == nil) == (reply == "") {
		s.t.Errorf("Deny(%v): got %v, want an error only where there is no reply", reason, err)
	}
}

// denySlowly denies a client that reads one byte at a time.
func (k suite) denySlowly(t *testing.T, d Denial) {
	k.bubble(t, 1, func(s *session) {
		s.open()
		go func() { _, _ = io.WriteString(s.client, k.o.Bytes) }()
		told := make(chan struct{})
		go func() {
			defer close(told)
			<-s.opened
			if s.err != nil {
				t.Errorf("Open: got %v, want a request", s.err)
			} else {
				s.denied(d.Reason, d.Reply)
			}
			_ = s.raw.Conn.CloseWrite()
		}()
		got, err := io.ReadAll(oneByte{s.client})
		if err != nil || !strings.HasSuffix(string(got), d.Reply) {
			t.Errorf("at the slow client: got %q, %v, want %q at the end", got, err, d.Reply)
		}
		<-told
	})
}

// Strangers are first bytes of other protocols, by name.
var Strangers = map[string]string{
	"tls":      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x5a\x0b\x9c\xd1\x3e\x47\x88\xaf\x20\x61\x0d\xee\x71",
	"ssh":      "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
	"socks4":   "\x04\x01\x01\xbb\x5d\xb8\xd8\x22user\x00",
	"socks5":   "\x05\x02\x00\x02",
	"http":     "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
	"http2":    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"lower":    "get / http/1.1\r\n\r\n",
	"whatsapp": "WA\x06\x03\x00\x00\x24\x12\x22\x0a\x20",
	"xmpp":     "<?xml version='1.0'?><stream:stream to='example.org'>",
	"smtp":     "EHLO\tmail.example.org\r\n",
	"rdp":      "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
	"mtproto":  "\xf3\x91\x0c\x5e\xb8\x27\x6d\xa4\x19\xe0\x42\x8f\x7b\xd6\x30\xc9\xa5\x1e\x68\xf7\x0b\x94\x53\xdc",
	"proxy v2": "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c",
	"zeros":    "\x00\x00\x00\x00\x00\x00\x00\x00",
	"newline":  "\r\n\r\n",
}

// strangers: bytes of other protocols get No, whole and byte by byte, before
// the inbound has seen all of them.
func strangers(t *testing.T, fresh func() Opener, claims []string) {
	claimed := make(map[string]bool)
	for _, c := range claims {
		if _, ok := Strangers[c]; !ok {
			t.Errorf("claim: got %q, want the name of a stranger", c)
		}
		claimed[c] = true
	}
	for name, b := range Strangers {
		in := fresh()
		checkMatch(t, in, []byte(b))
		got := in.Match([]byte(b))
		if !claimed[name] && got != no {
			t.Errorf("Match of %s: got %d, want No (%d)", name, got, no)
		}
		if claimed[name] && got == no {
			t.Errorf("Match of %s: got No, want it claimed as the samples say", name)
		}
	}
}
