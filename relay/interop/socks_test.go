package interop

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"testing/iotest"
	"time"
)

// dialLimit bounds one handshake with the relay. Two thousand of them at a time
// share two cores.
const dialLimit = 20 * time.Second

// dialVia opens a connection to target, an address and port, through the relay.
// The result is the bare socket, because the tests half-close and reset it. The
// test closes it when it ends.
func dialVia(t *testing.T, via *url.URL, target string) *net.TCPConn {
	t.Helper()
	c, err := tryVia(via, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// tryVia is dialVia for goroutines. The caller closes the result.
func tryVia(via *url.URL, target string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", via.Host, dialLimit)
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(dialLimit))
	if via.Scheme == "http" {
		err = connectHandshake(c, via.User, target)
	} else {
		err = socks5Handshake(c, via.User, target)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s to %s: %w", via.Scheme, target, err)
	}
	return c, c.SetDeadline(time.Time{})
}

// socks5Handshake asks the way tdlib does: one method offered, the target as an
// address. It is as strict about the answer as tdlib (specs/messengers.md,
// section 2): reserved byte 0, no name as the bound address.
func socks5Handshake(c net.Conn, user *url.Userinfo, target string) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	method := byte(0)
	if user != nil {
		method = 2
	}
	if err := expect(c, []byte{5, 1, method}, []byte{5, method}); err != nil {
		return fmt.Errorf("method: %w", err)
	}
	if user != nil {
		name := user.Username()
		password, _ := user.Password()
		b := append([]byte{1, byte(len(name))}, name...)
		b = append(append(b, byte(len(password))), password...)
		if err := expect(c, b, []byte{1, 0}); err != nil {
			return fmt.Errorf("password: %w", err)
		}
	}
	b := []byte{5, 1, 0, 1}
	if to.Addr().Is6() {
		b[3] = 4
	}
	b = append(b, to.Addr().AsSlice()...)
	b = append(b, byte(to.Port()>>8), byte(to.Port()))
	if _, err := c.Write(b); err != nil {
		return err
	}
	var reply [10]byte
	if _, err := io.ReadFull(c, reply[:]); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	if [4]byte(reply[:4]) != [4]byte{5, 0, 0, 1} {
		return fmt.Errorf("reply: got % x, want 05 00 00 01 and an IPv4 address", reply)
	}
	return nil
}

// expect writes send and wants exactly want back.
func expect(c net.Conn, send, want []byte) error {
	if _, err := c.Write(send); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("got % x, want % x", got, want)
	}
	return nil
}

// connectHandshake is an HTTP CONNECT (RFC 9110, Section 9.3.6).
func connectHandshake(c net.Conn, user *url.Userinfo, target string) error {
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if user != nil {
		password, _ := user.Password()
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		return err
	}
	// Byte by byte: what follows the head is the target's already.
	resp, err := http.ReadResponse(bufio.NewReaderSize(iotest.OneByteReader(c), 16), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("got status %s, want 2xx", resp.Status)
	}
	return nil
}

// listen serves each connection to a new loopback address with handle, in a
// goroutine of its own, and closes it afterwards. The test waits for all of
// them when it ends; handle gets a connection with a deadline so that it can.
func listen(t *testing.T, handle func(c *net.TCPConn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var running []chan struct{}
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			over := make(chan struct{})
			running = append(running, over)
			_ = c.SetDeadline(time.Now().Add(90 * time.Second))
			go func() {
				defer close(over)
				defer c.Close()
				handle(c.(*net.TCPConn))
			}()
		}
		for _, over := range running {
			<-over
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// echo sends back what comes until the end of it.
func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// roundTrip sends message on c to an echo and wants it back within limit.
func roundTrip(c net.Conn, message string, limit time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(limit))
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	return expect(c, []byte(message), []byte(message))
}

// closedPort is a loopback address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
