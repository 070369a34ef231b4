package probe

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"
)

// fake is a small server with just enough manners to be probed: it answers a
// hello with a flight of random bytes, text with a page, and waits otherwise.
// Each field is one thing in which it can differ from another one.
type fake struct {
	more     string        // bytes after the page
	status   string        // of the page; "" is 200
	reset    bool          // RST in place of FIN
	late     time.Duration // before each answer
	lateBy   time.Duration // before each second answer
	alert    byte          // in place of 10
	size     int           // of the flight's last record; 0 is 800
	closeAt  int           // ends the connection at this byte of junk
	ccsLimit int           // 0 is 33
	keep     bool          // takes bytes after its end
	constant bool          // its random is no random
	patience time.Duration // with a connection; 0 is 20 s
}

// start serves until the test ends.
func (f fake) start(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			g := f
			if n%2 == 1 {
				g.late += g.lateBy
			}
			go g.serve(c.(*net.TCPConn))
		}
	}()
	return ln.Addr().String()
}

func (f fake) serve(c *net.TCPConn) {
	defer c.Close()
	patience := f.patience
	if patience == 0 {
		patience = 20 * time.Second
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	head := make([]byte, 1)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	switch {
	case head[0] == recHandshake:
		f.hello(c)
	case head[0] == 'G':
		f.page(c)
	default:
		f.junk(c)
	}
}

func (f fake) junk(c *net.TCPConn) {
	if f.closeAt > 0 {
		_, _ = io.ReadFull(c, make([]byte, f.closeAt-1))
		return
	}
	_, _ = io.Copy(io.Discard, c)
}

func (f fake) page(c *net.TCPConn) {
	var got []byte
	b := make([]byte, 4096)
	for !bytes.Contains(got, []byte("\r\n\r\n")) {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		got = append(got, b[:n]...)
	}
	time.Sleep(f.late)
	status := f.status
	if status == "" {
		status = "200 OK"
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id)
	page := "HTTP/1.1 " + status + "\r\nDate: " + time.Now().UTC().Format(time.RFC1123) + "\r\nX-Id: " + string(id) + "\r\n\r\n" + f.more
	_, _ = io.WriteString(c, page)
	f.end(c)
}

func (f fake) end(c *net.TCPConn) {
	switch {
	case f.reset:
		_ = c.SetLinger(0)
	case f.keep:
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
}

func (f fake) hello(c *net.TCPConn) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	body := make([]byte, int(head[2])<<8+int(head[3]))
	if _, err := io.ReadFull(c, body); err != nil {
		return
	}
	time.Sleep(f.late)
	if !bytes.Contains(body, []byte{0, extSupportedVersions, 0}) {
		_, _ = c.Write(alert(2, 70))
		return
	}
	sh := make([]byte, 40)
	sh[0], sh[1] = 3, 3
	if !f.constant {
		_, _ = rand.Read(sh[2:34])
	}
	size := f.size
	if size == 0 {
		size = 800
	}
	flight := make([]byte, size)
	_, _ = rand.Read(flight)
	_, _ = c.Write(join(plainRecord(recHandshake, 0x0303, message1(msgServerHello, sh)), ccs(1), plainRecord(recData, 0x0303, flight)))
	limit := f.ccsLimit
	if limit == 0 {
		limit = 33
	}
	rec := make([]byte, 6)
	for n := 1; n <= limit; n++ {
		if _, err := io.ReadFull(c, rec); err != nil || rec[0] != recCCS {
			break
		}
		if n < limit {
			continue
		}
		description := byte(10)
		if f.alert != 0 {
			description = f.alert
		}
		_, _ = c.Write(alert(2, description))
		// All that was sent is read first: what is left would turn FIN to RST.
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		_, _ = io.Copy(io.Discard, c)
		f.end(c)
		return
	}
	_, _ = io.Copy(io.Discard, c)
}
