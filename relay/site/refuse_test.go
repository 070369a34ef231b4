package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"relay/transport"
)

// visitTCP says something to a site and returns what comes back, to the end, and how
// it ends; refused says that there was nothing to wait for.
func visitTCP(t *testing.T, s *Site, say []byte, ended, refuse bool) (answer string, refused bool) {
	t.Helper()
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.DialTCP("tcp4", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	_ = near.SetDeadline(time.Now().Add(20 * time.Second))
	far, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write(say); err != nil {
		t.Fatal(err)
	}
	p := transport.NewPeeked(far)
	if _, err := p.Peek(len(say)); err != nil {
		t.Fatalf("Peek: got %v, want all that was said", err)
	}
	if ended {
		_ = near.CloseWrite()
		if _, err := p.Peek(len(say) + 1); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("Peek: got %v, want the end", err)
		}
	}
	done := make(chan struct{})
	g := closing(func() { close(done) })
	if refuse {
		refused = s.Refuse(p, ended, time.Now(), g)
	}
	if !refused {
		s.Serve(p, time.Now(), g)
		if !ended {
			_ = near.CloseWrite() // it may wait for more
		}
	}
	b, err := io.ReadAll(near)
	<-done
	end := "an end"
	if errors.Is(err, syscall.ECONNRESET) {
		end = "a reset"
	} else if err != nil {
		t.Errorf("end: got %v, want one or a reset", err)
	}
	return fmt.Sprintf("%q, %s", b, end), refused
}

// TestRefuse: who speaks neither TLS nor HTTP gets what all others get, without waiting.
func TestRefuse(t *testing.T) {
	s := newSite(t, Options{Folder: writeFolder(t, map[string]string{"index.html": "hi"})})
	for _, tt := range []struct {
		first   string
		length  int
		refused bool // before the end
		ended   bool // and with it
	}{
		{"junk", 4, false, true}, {"junk!", 5, true, true}, {"junk!", 64, true, true}, {"junk!", 516, true, true}, {"junk!", 517, true, true}, {"junk!", 518, true, true},
		{"junk!", 600, true, true}, {"junk!", 3000, true, true}, {"\x00", 5, true, true}, {"\x80\x2e\x01\x03\x01", 48, true, true}, {"\xff", 700, true, true},
		{"\x17\x03\x03\x00\x10", 40, true, true}, {"\x14\x03\x03\x00\x01\x01", 6, true, true}, {"\x05\x01\x00\x00\x00", 600, true, true}, {"SSH-2.0-x\r\n", 11, false, false},
		{"GET / HTTP/1.1\r\n\r\n", 18, false, false}, {"OPTIONS", 600, false, false}, {"get / HTTP/1.1\r\n\r\n", 18, true, true}, {"\x16\x03\x01\x00\x05", 10, false, false}, {"\x16\x03\x01\x00\x06", 10, false, true}, {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 40, false, true}, {"\x15\x03\x01\x00\x02", 7, false, false},
		{"\x16\xff\x01\x00\x05", 10, false, false},
		{"", 0, false, true}, {"\x16", 1, false, true},
	} {
		t.Run(fmt.Sprintf("%.5q of %d", tt.first, tt.length), func(t *testing.T) {
			say := append([]byte(tt.first), bytes.Repeat([]byte{'x'}, tt.length-len(tt.first))...)
			for _, ended := range []bool{false, true} {
				want, _ := visitTCP(t, s, say, ended, false)
				got, refused := visitTCP(t, s, say, ended, true)
				if got != want || refused != (tt.refused || ended && tt.ended) {
					t.Errorf("ended %t: got %s, at once: %t; want %s, %t", ended, got, refused, want, tt.refused || ended && tt.ended)
				}
			}
		})
	}
}
