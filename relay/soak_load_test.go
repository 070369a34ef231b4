//go:build soak && linux

package relay_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"relay/transport"
)

// open makes an echo connection through SOCKS5.
func (s *soak) open() (*net.TCPConn, error) { return s.ask('e', 0) }

// ask connects to the target through the relay and says what it should do.
func (s *soak) ask(what byte, n uint32) (*net.TCPConn, error) {
	c, err := s.connect(s.target.Addr().String(), rand.IntN(2) == 0)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(binary.BigEndian.AppendUint32([]byte{what}, n)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// connect opens a tunnel, with a password or without, by SOCKS5 or CONNECT.
func (s *soak) connect(target string, named bool) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	ap := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	if t, err := net.ResolveTCPAddr("tcp", target); err == nil {
		ap = t.AddrPort()
	}
	request := append([]byte{5, 1, 0, 1}, ap.Addr().Unmap().AsSlice()...)
	request = binary.BigEndian.AppendUint16(request, ap.Port())
	answer := 10
	switch {
	case named:
		login := append([]byte{5, 1, 2, 1, 5}, "alice"...)
		login = append(append(login, byte(len(s.password))), s.password...)
		err = exchange(c, append(login, request...), []byte{5, 2, 1, 0, 5, 0}, answer)
	case rand.IntN(2) == 0:
		head := "HTTP/1.1 200 "
		err = exchange(c, []byte("CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n"), []byte(head), 0)
		if err == nil {
			err = skipHead(c)
		}
	default:
		err = exchange(c, append([]byte{5, 1, 0}, request...), []byte{5, 0, 5, 0}, answer)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// exchange writes a question and reads an answer that begins with want; a
// SOCKS5 reply is answer bytes long, of which the first two are in want.
func exchange(c net.Conn, question, want []byte, answer int) error {
	if _, err := c.Write(question); err != nil {
		return err
	}
	got := make([]byte, len(want)+max(0, answer-2))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.HasPrefix(got, want) {
		return fmt.Errorf("answer of the relay: got %q, want %q", got, want)
	}
	return nil
}

func skipHead(c net.Conn) error {
	b, last := make([]byte, 1), ""
	for len(last) < 4 || last[len(last)-4:] != "\r\n\r\n" {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		last += string(b)
	}
	return nil
}

// echo sends n bytes and compares what comes back.
func echo(c net.Conn, n int) error {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	out, in := make([]byte, n), make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(out)
	go func() { _, _ = c.Write(out) }()
	if _, err := io.ReadFull(c, in); err != nil {
		return err
	}
	if !bytes.Equal(in, out) {
		return errors.New("echo: got other bytes, want those sent")
	}
	return nil
}

// download asks for n bytes, checks them and their end, at the given pace.
func (s *soak) download(n int, pause time.Duration) error {
	c, err := s.ask('d', uint32(n))
	if err != nil {
		return err
	}
	defer c.Close()
	want, w, buf := rand.NewChaCha8([32]byte{1}), make([]byte, 32<<10), make([]byte, 32<<10)
	got := 0
	for {
		m, err := c.Read(buf)
		_, _ = want.Read(w[:m])
		if !bytes.Equal(buf[:m], w[:m]) {
			return errors.New("download: got other bytes, want those sent")
		}
		got += m
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		time.Sleep(pause)
	}
	if got != n {
		return fmt.Errorf("download: got %d bytes, want %d", got, n)
	}
	return nil
}

// operations are what clients do.
var operations = []func(s *soak) error{
	func(s *soak) error { return s.download(rand.IntN(2<<20), 0) },
	func(s *soak) error { return s.download(rand.IntN(300_000), time.Millisecond) },
	func(s *soak) error { // many small messages
		return s.with('e', 0, func(c *net.TCPConn) error {
			for range 20 {
				if err := echo(c, 1+rand.IntN(1000)); err != nil {
					return err
				}
			}
			return nil
		})
	},
	func(s *soak) error {
		return s.with('e', 0, func(c *net.TCPConn) error { return echo(c, rand.IntN(1<<20)) })
	},
	func(s *soak) error { // the client aborts
		return s.with('d', 1<<20, func(c *net.TCPConn) error {
			_, _ = io.CopyN(io.Discard, c, rand.Int64N(1<<19))
			return transport.Abort(c)
		})
	},
	func(s *soak) error { // the target aborts: never an orderly end
		return s.with('r', rand.Uint32N(1<<20), func(c *net.TCPConn) error {
			if _, err := io.Copy(io.Discard, c); err == nil {
				return errors.New("reset target: got an orderly end, want a reset")
			}
			return nil
		})
	},
	func(s *soak) error { // a client that does not read, then goes
		return s.with('d', 8<<20, func(*net.TCPConn) error { time.Sleep(100 * time.Millisecond); return nil })
	},
	func(s *soak) error { // half-closed and forgotten: the fin timeout ends it
		return s.with('s', 0, func(c *net.TCPConn) error { return c.CloseWrite() })
	},
	func(s *soak) error { return s.raw("\x16\x03\x01 not ours") },
	func(s *soak) error { return s.raw("") },
	func(s *soak) error { return s.raw("\x05\x01\x00\x05\x01") },
	func(s *soak) error { // a target that is refused, by nobody there or by policy
		for _, to := range []string{"127.0.0.1:1", "10.0.0.1:80", s.addr} {
			if c, err := s.connect(to, false); err == nil {
				return errors.Join(fmt.Errorf("connect to %s: got nil, want a refusal", to), c.Close())
			}
		}
		return nil
	},
}

func (s *soak) operation(i int) error {
	if err := operations[i](s); err != nil {
		return fmt.Errorf("operation %s: %w", strconv.Itoa(i), err)
	}
	return nil
}

func (s *soak) with(what byte, n uint32, f func(c *net.TCPConn) error) error {
	c, err := s.ask(what, n)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// raw says something and leaves, in one of two ways.
func (s *soak) raw(what string) error {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(c, what)
	if rand.IntN(2) == 0 {
		return transport.Abort(c.(*net.TCPConn))
	}
	return c.Close()
}
