package vless

import (
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// What becomes of ends when sessions are joined with their targets.
func TestMuxJoined(t *testing.T) {
	for _, tt := range []struct {
		name   string
		said   string // behind "ask"
		target func(t *testing.T, c *relaytest.Conn)
		want   string
		end    splice.End
	}{
		{"late answer", end(1), func(t *testing.T, c *relaytest.Conn) {
			if got, err := io.ReadAll(c); string(got) != "ask" || err != nil {
				t.Errorf("at the target: got %q, %v, want ask and the end", got, err)
			}
			_, _ = io.WriteString(c, "late")
			_ = c.Close()
		}, keep(1, "late") + end(1), splice.End{Status: transport.OK, Up: 3, Down: 4}},
		{"target ends first", "", func(_ *testing.T, c *relaytest.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 3))
			_, _ = io.WriteString(c, "early")
			_ = c.CloseWrite()
		}, keep(1, "early") + end(1), splice.End{Status: transport.Timeout, Up: 3, Down: 5}},
		{"target resets", "", func(_ *testing.T, c *relaytest.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 3))
			_ = transport.Abort(c)
		}, wrong(1), splice.End{Status: transport.TargetGone, Up: 3}},
		{"client breaks off", wrong(1), func(t *testing.T, c *relaytest.Conn) {
			if _, err := io.ReadAll(c); err == nil {
				t.Errorf("at the target: got %v, want %v", err, syscall.ECONNRESET)
			}
		}, "", splice.End{Status: transport.ClientGone, Up: 3}},
		{"nobody says anything", "", func(_ *testing.T, c *relaytest.Conn) {
			_, _ = io.Copy(io.Discard, c)
		}, end(1), splice.End{Status: transport.Timeout, Up: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				core := splice.New(0)
				over := make(chan splice.End, 1)
				m.join = func(near transport.Conn) {
					far, at := relaytest.Pipe()
					go func() {
						tt.target(t, at)
						<-m.over
						_ = at.Close()
					}()
					core.Join(near, far, splice.Limits{Idle: time.Minute, Fin: time.Minute}, nil, func(e splice.End) { over <- e })
				}
				m.say(m.tcp(1, one, "ask"))
				synctest.Wait()
				m.say(tt.said)
				if got := <-over; got != tt.end {
					t.Errorf("end: got %+v, want %+v", got, tt.end)
				}
				if tt.want != "" {
					tt.want = answer + tt.want
				}
				m.hears(tt.want, nil)
				_ = m.client.CloseWrite()
				<-m.over
				core.Drain(t.Context())
			})
		})
	}
}
