package vless

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// greeted is a way out for datagrams that has sent one, and the exit's end, which
// has been told it.
func greeted(t *testing.T, x *exit) (transport.PacketConn, *relaytest.Conn) {
	t.Helper()
	c, err := x.dialer().DialPacket(t.Context())
	if err != nil {
		t.Fatalf("DialPacket: got %v, want nil", err)
	}
	if err := c.WritePacket([]byte("first datagram"), target(t, "9.9.9.9:3478")); err != nil {
		t.Fatalf("WritePacket: got %v, want nil", err)
	}
	end := x.end()
	_, _ = end.Read(make([]byte, 200))
	return c, end
}

// What goes out is what Xray's client writes, but for the last datagram's missing peer
// and the id, which is drawn.
func TestXUDPWritesXraysFrames(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c, err := x.dialer().DialPacket(t.Context())
		if err != nil {
			t.Fatalf("DialPacket: got %v, want nil", err)
		}
		defer c.Close()
		time.Sleep(time.Minute)
		x.opened()
		for _, p := range []struct{ data, to string }{
			{"first datagram", "9.9.9.9:3478"}, {"", "9.9.9.9:3478"}, {"second datagram", "[2001:db8::2]:3479"},
		} {
			if err := c.WritePacket([]byte(p.data), target(t, p.to)); err != nil {
				t.Errorf("WritePacket: got %v, want nil", err)
			}
		}
		b := make([]byte, 1000)
		n, _ := x.end().Read(b)
		const id = "\x08\x07\x06\x05\x04\x03\x02\x01"
		want, _, _ := strings.Cut(xrayMux+xrayXUDP, "\x00\x04\x00\x00\x02\x01\x00\x15third")
		at := strings.Index(want, id)
		if n != len(want) || string(b[:at]) != want[:at] || string(b[at+8:n]) != want[at+8:] || string(b[at:at+8]) == id {
			t.Errorf("at the exit: got %q, want %q with another id", b[:n], want)
		}
		x.opened(string(b[:at+8]) + "\x00\x0efirst datagram")
	})
}

func TestXUDPAnswers(t *testing.T) {
	const ipv6 = "\x03 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
	long := string(make([]byte, 9000))
	for _, c := range []struct {
		name, said string
		want       []string
		end        error
	}{
		{"from whom", answer + "\x00\x18\x00\x00\x02\x01\x02\r\x97" + ipv6 + "\x00\x05hello", []string{"[2001:db8::2]:3479 hello"}, io.EOF},
		{"from a name", answer + "\x00\x0f\x00\x00\x02\x01\x02\x00\x50\x02\x06x.test\x00\x02hi", []string{"x.test:80 hi"}, io.EOF},
		{"from nobody", answer + "\x00\x04\x00\x00\x02\x01\x00\x02hi", []string{"9.9.9.9:3478 hi"}, io.EOF},
		{"without data", answer + "\x00\x04\x00\x00\x02\x00\x00\x04\x00\x00\x04\x01\x00\x01x\x00\x04\x00\x00\x02\x01\x00\x00", nil, io.EOF},
		{"bad peer", answer + "\x00\x0c\x00\x00\x02\x01\x02\x00\x00\x01\x01\x02\x03\x04\x00\x01x\x00\x04\x00\x00\x02\x01\x00\x02hi", []string{"9.9.9.9:3478 hi"}, io.EOF},
		{"too long for the reader", answer + "\x00\x04\x00\x00\x02\x01" + lengthOf(long) + long + "\x00\x04\x00\x00\x02\x01\x00\x02hi", []string{"9.9.9.9:3478 hi"}, io.EOF},
		{"end", answer + "\x00\x04\x00\x00\x03\x00\x00\x04\x00\x00\x02\x01\x00\x02hi", nil, io.EOF},
		{"end with an error", answer + "\x00\x04\x00\x00\x03\x02", nil, errBrokenOff},
		{"cut in the length", answer + "\x00", nil, io.ErrUnexpectedEOF},
		{"cut in a frame", answer + "\x00\x04\x00", nil, io.ErrUnexpectedEOF},
		{"cut in data", answer + "\x00\x04\x00\x00\x02\x01\x00\x05hi", nil, io.ErrUnexpectedEOF},
		{"long frame", answer + "\x02\x01", nil, errFrame},
		{"short frame", answer + "\x00\x02xx", nil, errFrame},
		{"status", answer + "\x00\x04\x00\x00\x09\x01", nil, errStatus},
		{"no answer", "", nil, io.ErrUnexpectedEOF},
		{"bad answer", "\x05\x00", nil, errAnswer},
	} {
		for _, size := range []int{1, 100000} {
			dialing(t, func(t *testing.T, x *exit) {
				conn, end := greeted(t, x)
				defer conn.Close()
				go func() {
					for piece := range slices.Chunk([]byte(c.said), size) {
						_, _ = end.Write(piece)
						if len(c.said) < 1000 {
							synctest.Wait()
						}
					}
					_ = end.CloseWrite()
				}()
				var got []string
				b := make([]byte, 2000)
				var err error
				for err == nil {
					_ = conn.(transport.ReadWaiter).WaitRead()
					var n int
					var peer transport.Target
					if n, peer, err = conn.ReadPacket(b); err == nil {
						got = append(got, peer.String()+" "+string(b[:n]))
					}
				}
				if !slices.Equal(got, c.want) || !errors.Is(err, c.end) {
					t.Errorf("%s by %d: got %q, %v, want %q, %v", c.name, size, got, err, c.want, c.end)
				}
			})
		}
	}
}

func TestXUDPLimits(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c, end := greeted(t, x)
		to := target(t, "9.9.9.9:3478")
		for _, bad := range []struct {
			b  []byte
			to transport.Target
		}{{make([]byte, maxAnswer+1), to}, {[]byte("x"), transport.Target{}}} {
			if err := c.WritePacket(bad.b, bad.to); err == nil || errors.Is(err, net.ErrClosed) {
				t.Errorf("WritePacket of %d bytes to %v: got %v, want an error about this one alone", len(bad.b), bad.to, err)
			}
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if _, _, err := c.ReadPacket(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadPacket: got %v, want a time-out", err)
		}
		_ = c.SetDeadline(time.Time{})
		_ = end.Close()
		synctest.Wait()
		if err := c.WritePacket([]byte("x"), to); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WritePacket to nobody: got %v, want net.ErrClosed", err)
		}
		_ = c.Close()
		if err := c.WritePacket([]byte("x"), to); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WritePacket after Close: got %v, want net.ErrClosed", err)
		}
	})
	dialing(t, func(t *testing.T, x *exit) {
		x.fail = errNoWay
		c, _ := x.dialer().DialPacket(t.Context())
		if err := c.WritePacket([]byte("x"), target(t, "9.9.9.9:53")); !errors.Is(err, errNoWay) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("WritePacket: got %v, want net.ErrClosed and why", err)
		}
		_ = c.Close()
	})
}

// Datagrams to two targets and a name, through the inbound.
func TestXUDPThroughInbound(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		e := &echoing{in: Inbound{UUID: ids, Packets: true}}
		x.serve = e.serve
		c, err := x.dialer().DialPacket(t.Context())
		if err != nil {
			t.Fatalf("DialPacket: got %v, want nil", err)
		}
		b := make([]byte, transport.MaxPacket)
		for i, to := range []string{"9.9.9.9:53", "[2001:db8::1]:123", "stun.example.org:3478", "9.9.9.9:53"} {
			sent := repeat(to, 100*i+1)
			if err := c.WritePacket([]byte(sent), target(t, to)); err != nil {
				t.Fatalf("WritePacket: got %v, want nil", err)
			}
			n, peer, err := c.ReadPacket(b)
			if string(b[:n]) != sent || peer.String() != to || err != nil {
				t.Errorf("answer of %s: got %d bytes from %v, %v, want the %d sent", to, n, peer, err, len(sent))
			}
		}
		_ = c.Close()
		x.served.Wait()
	})
}
