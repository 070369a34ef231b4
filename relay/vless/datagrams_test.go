package vless

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// associated is an accepted command 2 whose client has said more.
func associated(t testing.TB, said string, buffer int) (transport.PacketConn, *relaytest.Conn) {
	t.Helper()
	req, client := accepted(t, &Inbound{UUID: ids, Packets: true}, xrayUDP+said, buffer)
	near, err := req.(transport.PacketRequest).AcceptPackets(t.Context())
	if err != nil {
		t.Fatalf("AcceptPackets: got %v, want nil", err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = client.Close() })
	return near, client
}

// packetsOf reads datagrams until there is an error.
func packetsOf(c transport.PacketConn, room int) (got []string, err error) {
	b := make([]byte, room)
	for {
		n, peer, err := c.ReadPacket(b)
		if err != nil {
			return got, err
		}
		got = append(got, peer.String()+" "+string(b[:n]))
	}
}

func same(got []string, want ...string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] {
			return false
		}
	}
	return true
}

func TestDatagrams(t *testing.T) {
	large := repeat("d", transport.MaxPacket)
	for _, tt := range []struct {
		name, said string
		want       []string
		err        error
	}{
		{"as Xray says them", xrayDatagrams, []string{"9.9.9.9:53 query one", "9.9.9.9:53 query two, longer"}, io.EOF},
		{"length 0, as sing-box begins", "\x00\x00\x00\x01a\x00\x00", []string{"9.9.9.9:53 a"}, io.EOF},
		{"none", "", nil, io.EOF},
		{"the longest", lengthOf(large) + large + "\x00\x01a", []string{"9.9.9.9:53 " + large, "9.9.9.9:53 a"}, io.EOF},
		{"longer than that", "\xff\xff" + repeat("d", 65535) + "\x00\x01a", []string{"9.9.9.9:53 a"}, io.EOF},
		{"half a length", "\x00\x01a\x00", []string{"9.9.9.9:53 a"}, io.ErrUnexpectedEOF},
		{"half a datagram", "\x00\x02a", nil, io.ErrUnexpectedEOF},
		{"no datagram", "\x00\x02", nil, io.ErrUnexpectedEOF},
		{"half of what is dropped", "\xff\xff" + large, nil, io.ErrUnexpectedEOF},
	} {
		for _, buffer := range []int{0, 1} {
			t.Run(tt.name, func(t *testing.T) {
				near, client := associated(t, "", buffer)
				go func() {
					_, _ = io.WriteString(client, tt.said)
					_ = client.CloseWrite()
				}()
				got, err := packetsOf(near, transport.MaxPacket)
				if !same(got, tt.want...) || !errors.Is(err, tt.err) {
					t.Errorf("datagrams: got %d of %d, %v, want %v", len(got), len(tt.want), err, tt.err)
				}
				if _, _, again := near.ReadPacket(make([]byte, 9)); !errors.Is(again, tt.err) {
					t.Errorf("ReadPacket again: got %v, want %v", again, tt.err)
				}
				if err := near.(transport.ReadWaiter).WaitRead(); err != nil {
					t.Errorf("WaitRead at the end: got %v, want nil", err)
				}
			})
		}
	}
}

// Answers go down in frames, the first of them behind the response header in one
// write, and whoever they come from.
func TestDatagramAnswers(t *testing.T) {
	near, client := associated(t, "", 0)
	to, other := target(t, "9.9.9.9:53"), target(t, "8.8.8.8:53")
	for _, a := range []struct {
		text string
		from transport.Target
		err  error
	}{{"one", to, nil}, {"", to, nil}, {repeat("d", transport.MaxPacket+1), to, errTooLarge}, {"two", other, nil}} {
		if err := near.WritePacket([]byte(a.text), a.from); err != a.err {
			t.Errorf("WritePacket of %d bytes: got %v, want %v", len(a.text), err, a.err)
		}
	}
	_ = near.Close()
	got, err := io.ReadAll(client)
	if want := answer + "\x00\x03one\x00\x03two"; err != nil || string(got) != want {
		t.Errorf("at the client: got %q, %v, want %q", got, err, want)
	}
}

// A deadline between datagrams costs nothing; one within a frame ends the
// association, as nobody could tell where the next frame begins.
func TestDatagramDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, client := associated(t, "", 0)
		b := make([]byte, 100)
		wait := func() {
			_ = near.SetDeadline(time.Now().Add(time.Second))
			if _, _, err := near.ReadPacket(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ReadPacket: got %v, want the deadline", err)
			}
			_ = near.SetDeadline(time.Time{})
		}
		wait()
		_, _ = io.WriteString(client, "\x00\x01a")
		if n, _, err := near.ReadPacket(b); n != 1 || err != nil {
			t.Errorf("after a deadline: got %d, %v, want a datagram", n, err)
		}
		_, _ = io.WriteString(client, "\x00\x02a")
		wait()
		_, _ = io.WriteString(client, "b\x00\x01c")
		if n, _, err := near.ReadPacket(b); err == nil {
			t.Errorf("after a deadline in a frame: got %q, want an error", b[:n])
		}
	})
}

// An answer that went out in part would be followed by frames that nobody can
// read: the association is over then, which net.ErrClosed says.
func TestDatagramWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, client := associated(t, "", 4)
		to := target(t, "9.9.9.9:53")
		_ = near.SetDeadline(time.Now().Add(time.Second))
		for range 2 {
			if err := near.WritePacket([]byte("longer than four"), to); !errors.Is(err, net.ErrClosed) {
				t.Errorf("WritePacket: got %v, want net.ErrClosed", err)
			}
			_ = near.SetDeadline(time.Time{})
		}
		_ = near.Close()
		got, _ := io.ReadAll(client)
		if len(got) > 4 {
			t.Errorf("at the client: got %q, want nothing behind the broken frame", got)
		}
	})
}
