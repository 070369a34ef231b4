package relay_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// stream brings a stream of a carrier, and returns the client's end.
func (r *rig) stream(user string) net.Conn {
	near, far := relaytest.Pipe()
	go func() { _ = r.srv.Sink([]relay.Inbound{r.in}).Stream(r.t.Context(), r.in.users[user], far) }()
	return near
}

// TestSink: each stream of a carrier is a connection of its own.
func TestSink(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.Connections = 3 }, func(r *rig) {
		r.user("alice", 0)
		r.user("bob", 0)
		go func() {
			for {
				c, err := r.target.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); _ = c.(transport.Conn).CloseWrite(); _ = c.Close() }()
			}
		}()
		a, b := r.stream("alice"), r.stream("alice")
		for _, c := range []net.Conn{a, b} {
			r.say(c, "go alice "+targetAddr+"\n", "ok\n")
			r.say(c, "hello", "hello")
		}
		other := r.stream("alice")
		r.say(other, "go bob "+targetAddr+"\n", "no\n") // the carrier's user is another
		_ = other.Close()
		synctest.Wait()
		silent := r.stream("alice") // has its time, and no more
		synctest.Wait()
		full := r.stream("alice")
		if _, err := full.Read(make([]byte, 1)); err == nil {
			t.Error("a stream over the limit of connections: got bytes")
		}
		time.Sleep(r.set.Limits.Handshake + time.Second)
		synctest.Wait()
		if _, err := silent.Read(make([]byte, 1)); err == nil {
			t.Error("a stream that says nothing: got bytes")
		}
		if got := r.srv.Snapshot(); got.Live != 2 || got.Flows != 2 {
			t.Errorf("got %d connections and %d flows, want two of each", got.Live, got.Flows)
		}
		_ = a.(transport.Conn).CloseWrite()
		if rest, err := io.ReadAll(a); len(rest) > 0 || err != nil {
			t.Errorf("after the end: got %q, %v", rest, err)
		}
		_ = a.Close()
		if _, err := r.users.Update("alice", func(rec *auth.Record) error { rec.Disabled = true; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(make([]byte, 1)); err == nil {
			t.Error("a stream of a user who was disabled goes on")
		}
		synctest.Wait()
		r.wantEnds(map[transport.Status]int64{
			transport.OK: 1, transport.Cut: 1, transport.AuthFailed: 1, transport.Timeout: 1, transport.OverLimit: 1,
		})
	})
}

// TestSinkDrain: a stream that is opening is reset when the relay stops.
func TestSinkDrain(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.user("alice", 0)
		c := r.stream("alice")
		_, _ = io.WriteString(c, "g")
		synctest.Wait()
		r.shutdown(time.Second)
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("got %v, want a reset", err)
		}
		late := r.stream("alice")
		if _, err := late.Read(make([]byte, 1)); err == nil {
			t.Error("a stream is served after the relay has stopped")
		}
	})
}
