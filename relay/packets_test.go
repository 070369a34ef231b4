package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// packetInbound answers "udp USER\n" with a request for datagrams, whose near end
// lives as long as the connection.
type packetInbound struct {
	*inbound
	clients chan *relaytest.PacketConn // the client's ends
}

func (in *packetInbound) Open(_ context.Context, _ auth.User, c *transport.Peeked) (transport.Request, error) {
	line, err := readLine(c)
	if err != nil {
		return nil, err
	}
	_, user, _ := strings.Cut(line, " ")
	return &packetRequest{request: request{c: c, user: in.users[user]}, clients: in.clients}, nil
}

type packetRequest struct {
	request
	clients chan *relaytest.PacketConn
}

func (r *packetRequest) AcceptPackets(context.Context) (transport.PacketConn, error) {
	near, client := relaytest.PacketPipe()
	if _, err := io.WriteString(r.c, "ok\n"); err != nil {
		return nil, err
	}
	_ = r.c.SetDeadline(time.Time{})
	go func() {
		if _, err := io.Copy(io.Discard, r.c); errors.Is(err, syscall.ECONNRESET) {
			client.Break(err)
		}
		_ = client.Close()
	}()
	r.clients <- client
	return nearPackets{near, r.c}, nil
}

// nearPackets closes the connection as well.
type nearPackets struct {
	*relaytest.PacketConn
	c transport.Conn
}

func (n nearPackets) Close() error { return errors.Join(n.PacketConn.Close(), n.c.Close()) }

// packetDialer opens ways out whose other ends the test has.
type packetDialer struct {
	*relaytest.Network
	fars chan *relaytest.PacketConn
}

func (d *packetDialer) DialPacket(context.Context) (transport.PacketConn, error) {
	far, target := relaytest.PacketPipe()
	d.fars <- target
	return far, nil
}

// packetRig is a rig with datagrams.
type packetRig struct {
	*rig
	clients, fars chan *relaytest.PacketConn
}

func inPacketRig(t *testing.T, change func(*rig), f func(*packetRig)) {
	t.Helper()
	p := &packetRig{}
	inRig(t, func(r *rig) {
		p.rig = r
		p.clients, p.fars = make(chan *relaytest.PacketConn, 1), make(chan *relaytest.PacketConn, 1)
		r.in.word = "udp"
		r.set.Listeners[0].Route = []relay.Candidate{&packetInbound{inbound: r.in, clients: p.clients}}
		r.set.Dialer = &packetDialer{Network: r.net, fars: p.fars}
		if change != nil {
			change(r)
		}
	}, func(*rig) { f(p) })
}

// associate opens a way for datagrams and returns its three ends.
func (r *packetRig) associate(user string) (control transport.Conn, client, far *relaytest.PacketConn) {
	r.t.Helper()
	control = r.dial()
	r.say(control, "udp "+user+"\n", "ok\n")
	return control, <-r.clients, <-r.fars
}

var somewhere, _ = transport.ParseTarget("203.0.113.9:53")

// passes writes at one end and wants it at the other.
func (r *packetRig) passes(from, to *relaytest.PacketConn, said string) {
	r.t.Helper()
	if err := from.WritePacket([]byte(said), somewhere); err != nil {
		r.t.Errorf("write: got %v, want nil", err)
	}
	_ = to.SetDeadline(time.Now().Add(time.Second))
	b := make([]byte, transport.MaxPacket)
	n, peer, err := to.ReadPacket(b)
	if err != nil || string(b[:n]) != said || peer != somewhere {
		r.t.Errorf("datagram: got %q for %v, %v, want %q for %v", b[:n], peer, err, said, somewhere)
	}
}

func TestPackets(t *testing.T) {
	inPacketRig(t, nil, func(r *packetRig) {
		r.user("alice", 0)
		control, client, far := r.associate("alice")
		r.passes(client, far, "question")
		r.passes(far, client, "answer")
		r.passes(far, client, "")
		synctest.Wait() // counted once it is written
		if got := r.srv.Snapshot(); got.Live != 1 || got.Packets != 1 || got.Flows != 0 {
			t.Errorf("snapshot: got %d live, %d with datagrams, %d flows, want 1, 1, 0", got.Live, got.Packets, got.Flows)
		}
		if up, down := r.users.Totals(); up != int64(len("question")) || down != int64(len("answer")) {
			t.Errorf("bytes: got %d up, %d down, want 8, 6", up, down)
		}
		_ = control.Close()
		r.wantEnds(map[transport.Status]int64{transport.OK: 1})
		if a := r.users.Active(); len(a) != 1 || a[0].Sessions != 0 {
			t.Errorf("sessions: got %+v, want none", a)
		}
		if err := far.WaitRead(); err != io.EOF {
			t.Errorf("the target's side: got %v, want %v", err, io.EOF)
		}
		if got := r.log.String(); !strings.Contains(got, "status=ok up=8 down=6") || strings.Contains(got, "203.0.113.9") {
			t.Errorf("log: got %q, want a line with the bytes and no target", got)
		}
		if got := r.srv.Snapshot().Packets; got != 0 {
			t.Errorf("with datagrams at the end: got %d, want 0", got)
		}
	})
}

func TestPacketsEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(r *packetRig, control transport.Conn, client, far *relaytest.PacketConn)
		want transport.Status
		wire error // for the client's connection
	}{
		{"client broke off", func(_ *packetRig, control transport.Conn, _, _ *relaytest.PacketConn) { _ = transport.Abort(control) }, transport.ClientGone, net.ErrClosed},
		{"way out broke off", func(_ *packetRig, _ transport.Conn, _, far *relaytest.PacketConn) { far.Break(syscall.ECONNRESET) }, transport.TargetGone, io.EOF},
		{"user disabled", func(r *packetRig, _ transport.Conn, _, _ *relaytest.PacketConn) {
			if _, err := r.users.Update("alice", func(rec *auth.Record) error { rec.Disabled = true; return nil }); err != nil {
				r.t.Error(err)
			}
		}, transport.Cut, syscall.ECONNRESET},
		{"silence", func(*packetRig, transport.Conn, *relaytest.PacketConn, *relaytest.PacketConn) {
			time.Sleep(61 * time.Second)
		}, transport.Timeout, io.EOF},
		{"hard drain", func(r *packetRig, _ transport.Conn, _, _ *relaytest.PacketConn) { r.shutdown(0) }, transport.Drained, syscall.ECONNRESET},
		{"drain while idle", func(r *packetRig, _ transport.Conn, _, _ *relaytest.PacketConn) {
			began := time.Now()
			if cut := r.shutdown(time.Minute); cut != 0 || time.Since(began) > 4*time.Second {
				r.t.Errorf("Shutdown: got %d cut after %v, want 0 after 3s", cut, time.Since(began))
			}
		}, transport.Drained, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inPacketRig(t, nil, func(r *packetRig) {
				r.user("alice", 0)
				control, client, far := r.associate("alice")
				r.passes(client, far, "x")
				tt.end(r, control, client, far)
				r.wantEnds(map[transport.Status]int64{tt.want: 1})
				if tt.wire != net.ErrClosed {
					r.wantEnd(control, tt.wire)
				}
				_ = control.Close()
			})
		})
	}
}

// A datagram either way keeps the way open; without a limit of the settings it is
// RFC 4787's.
func TestPacketsIdle(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, 0: 5 * time.Minute, time.Hour: 5 * time.Minute} {
		inPacketRig(t, func(r *rig) { r.set.Limits.Idle = limit }, func(r *packetRig) {
			control, client, far := r.associate("-")
			for range 4 {
				time.Sleep(want - time.Second)
				r.passes(client, far, "up")
				time.Sleep(want - time.Second)
				r.passes(far, client, "down")
			}
			last := time.Now()
			r.wantEnd(control, io.EOF)
			if took := time.Since(last); took != want {
				t.Errorf("idle limit %v: ended after %v, want %v", limit, took, want)
			}
			_ = control.Close()
			r.wantEnds(map[transport.Status]int64{transport.Timeout: 1})
		})
	}
}

// While a relay drains, who talks goes on.
func TestPacketsDrain(t *testing.T) {
	inPacketRig(t, nil, func(r *packetRig) {
		_, client, far := r.associate("-")
		done := make(chan time.Duration)
		began := time.Now()
		go func() { r.shutdown(time.Minute); done <- time.Since(began) }()
		for range 10 {
			time.Sleep(2 * time.Second)
			r.passes(client, far, "still here")
		}
		if took := <-done; took != 23*time.Second {
			t.Errorf("Shutdown: got an end after %v, want 3s after the last datagram", took)
		}
	})
}

func TestPacketsDenied(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *rig)
		want   transport.Status
	}{
		{"no way out", func(r *rig) { r.set.Dialer = r.net }, transport.DialFailed},
		{"over the limit: two for one", func(r *rig) { r.set.Limits.Connections = 1 }, transport.OverLimit},
		{"over the limit: three descriptors", func(r *rig) { r.set.Limits.Descriptors = 2 }, transport.OverLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inPacketRig(t, tt.change, func(r *packetRig) {
				control := r.dial()
				r.say(control, "udp -\n", "no\n")
				_ = control.Close()
				r.wantEnds(map[transport.Status]int64{tt.want: 1})
			})
		})
	}
	t.Run("counts twice for others", func(t *testing.T) {
		inPacketRig(t, func(r *rig) { r.set.Limits.Connections = 3 }, func(r *packetRig) {
			first, _, _ := r.associate("-")
			second := r.dial()
			synctest.Wait()
			third := r.dial()
			synctest.Wait()
			_ = second.Close()
			_ = third.Close()
			_ = first.Close()
			synctest.Wait()
			if got := r.srv.Snapshot().Ends[transport.OverLimit]; got != 1 {
				t.Errorf("over the limit: got %d, want 1", got)
			}
		})
	})
}

// A flood far over the user's rate gets the rate, and afterwards no more delay than
// anybody's: what was dropped is not a debt.
func TestPacketsRate(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rate, size int // bytes a second, bytes
		dropped    bool
	}{
		{"small datagrams wait", 1 << 20, 1000, false},
		{"large ones would wait too long", 100_000, 10_000, true},
	} {
		t.Run(tt.name, func(t *testing.T) { packetsRate(t, tt.rate, tt.size, tt.dropped) })
	}
}

func packetsRate(t *testing.T, rate, size int, dropped bool) {
	t.Helper()
	const seconds = 20
	inPacketRig(t, nil, func(r *packetRig) {
		r.user("alice", 0)
		if _, err := r.users.Update("alice", func(rec *auth.Record) error { rec.Rate = auth.BitRate(8 * rate); return nil }); err != nil {
			t.Fatal(err)
		}
		control, client, far := r.associate("alice")
		var got atomic.Int64
		go func() {
			b := make([]byte, transport.MaxPacket)
			for {
				n, _, err := far.ReadPacket(b)
				if err != nil {
					return
				}
				got.Add(int64(n))
			}
		}()
		for range seconds * 1000 {
			for range max(1, 10_000/size) {
				_ = client.WritePacket(make([]byte, size), somewhere)
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		before := got.Load()
		if least, most := int64(rate*seconds*8/10), int64(rate*seconds+rate); before < least || before > most {
			t.Errorf("moved in %d s: got %d bytes, want %d to %d", seconds, before, least, most)
		}
		time.Sleep(200 * time.Millisecond)
		_ = client.WritePacket(make([]byte, size), somewhere)
		synctest.Wait()
		if drops := r.srv.Snapshot().Dropped; drops > 0 != dropped {
			t.Errorf("dropped: got %d, want some: %v", drops, dropped)
		}
		// The pipe may still hold some of the flood.
		if moved := got.Load() - before; moved < int64(size) {
			t.Errorf("after the flood: got %d bytes, want at least %d", moved, size)
		}
		_ = control.Close()
		synctest.Wait()
	})
}

func TestPacketsQuota(t *testing.T) {
	inPacketRig(t, nil, func(r *packetRig) {
		r.user("alice", 0)
		if _, err := r.users.Update("alice", func(rec *auth.Record) error { rec.Quota.Bytes = 5000; return nil }); err != nil {
			t.Fatal(err)
		}
		control, client, far := r.associate("alice")
		for range 10 {
			_ = client.WritePacket(make([]byte, 1000), somewhere)
			_ = far.WritePacket(make([]byte, 1000), somewhere)
			synctest.Wait()
		}
		r.wantEnd(control, syscall.ECONNRESET)
		_ = control.Close()
		r.wantEnds(map[transport.Status]int64{transport.Cut: 1})
		if up, down := r.users.Totals(); up+down > 6000+1000 {
			t.Errorf("bytes: got %d, want hardly more than the quota of 5000", up+down)
		}
	})
}
