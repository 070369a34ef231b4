package relay_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/relay"
	"relay/relay/site"
)

const strangersSite = "www.example.org"

// unread begins HTTP/2 on a connection and asks for so many files, of which it reads
// nothing.
func unread(c net.Conn, streams int) error {
	t := tls.Client(c, &tls.Config{ServerName: strangersSite, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := t.Handshake(); err != nil {
		return err
	}
	_, _ = io.WriteString(t, http2.ClientPreface)
	f := http2.NewFramer(t, nil)
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	for _, h := range [][2]string{{":method", "GET"}, {":authority", strangersSite}, {":scheme", "https"}, {":path", "/large"}} {
		// Sensitive fields have no place in a table that changes from one to the next.
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1], Sensitive: true})
	}
	for i := range streams {
		id := uint32(2*i + 1)
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			return err
		}
		if rand.IntN(5) == 0 {
			_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}
	}
	return nil
}

// TestStrangersCounts: whatever strangers do at a relay without room, and however they
// end, nothing stays counted.
func TestStrangersCounts(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "large"), make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	www, err := site.New(site.Options{Names: []string{strangersSite}, Folder: folder, SelfSigned: filepath.Join(t.TempDir(), "c.pem"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = www.Shutdown(t.Context()) })
	const descriptors = 70
	for _, most := range []int{20, 400} { // of strangers: the one or the other is what there is too little of
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			s := newLimitedStreet(t, func(l *relay.Listener, limits *relay.Limits) {
				l.Cover.Site, l.Cover.Refuse, l.Cover.Handshakes, l.Cover.Connections = www.Serve, www.Refuse, 4, most
				limits.Descriptors, limits.PerSource, limits.Handshake = descriptors, 12, time.Second
			})
			nap := func(most time.Duration) { time.Sleep(rand.N(most)) }
			stop := time.Now().Add(2 * time.Second)
			visit := func() {
				d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+rand.IntN(6)), byte(1+rand.IntN(3)))}}
				v, err := d.Dial("tcp4", s.addr)
				if err != nil {
					nap(20 * time.Millisecond)
					return
				}
				defer v.Close()
				c := v.(*net.TCPConn)
				_ = c.SetDeadline(time.Now().Add(2 * time.Second))
				hello := record("nobody")
				switch rand.IntN(6) {
				case 0: // silence
				case 1:
					_, _ = io.WriteString(c, "junk junk"[:1+rand.IntN(8)])
				case 2:
					_, _ = io.WriteString(c, hello[:rand.IntN(len(hello))])
				case 3:
					_, _ = io.WriteString(c, hello)
				default:
					_ = unread(c, rand.IntN(60))
				}
				nap(400 * time.Millisecond)
				switch rand.IntN(3) {
				case 0:
					_ = c.SetLinger(0)
				case 1:
					_ = c.CloseWrite()
					_ = c.SetReadDeadline(time.Now().Add(rand.N(200 * time.Millisecond)))
					_, _ = io.Copy(io.Discard, c)
				}
			}
			var all sync.WaitGroup
			for range 60 {
				all.Go(func() {
					for time.Now().Before(stop) {
						visit()
					}
				})
			}
			all.Wait()
			until(t, "all to be forgotten", func() bool {
				got := s.srv.Snapshot()
				return got.Live == 0 && got.Strangers == 0 && got.Borrowed == 0
			})
			for i := range descriptors {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(1+i))}}
				c, err := d.Dial("tcp4", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			until(t, "as many as there are descriptors", func() bool { return s.srv.Snapshot().Live == descriptors })
		})
	}
}
