package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// TestUnsaid has a user who opens streams in a carrier and says nothing in them: there
// is a limit, which others do not feel, nor streams that have a session.
func TestUnsaid(t *testing.T) {
	const most = 512
	inRig(t, nil, func(r *rig) {
		r.user("alice", 0)
		r.user("bob", 0)
		sink := r.srv.Sink([]relay.Inbound{r.in})
		var clients []transport.Conn
		open := func(user, text string) (refused bool) {
			t.Helper()
			near, client := relaytest.Pipe()
			clients = append(clients, client)
			if _, err := client.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			over := make(chan error, 1)
			go func() { over <- sink.Stream(t.Context(), r.in.users[user], near) }()
			synctest.Wait()
			select {
			case err := <-over:
				return err != nil
			default:
				return false
			}
		}
		go func() {
			for {
				c, err := r.target.Accept()
				if err != nil {
					return
				}
				defer c.Close()
			}
		}()
		for i := range 3 {
			if open("alice", "go alice "+targetAddr+"\n") {
				t.Errorf("stream %d with a target: got refused", i)
			}
		}
		for i := range most {
			if open("alice", "go") {
				t.Fatalf("silent stream %d: got refused", i)
			}
		}
		if !open("alice", "go alice "+targetAddr+"\n") {
			t.Errorf("a stream beyond %d silent ones: got taken", most)
		}
		if open("bob", "go") {
			t.Error("another user's: got refused")
		}
		time.Sleep(11 * time.Second) // the time for an opening is over
		synctest.Wait()
		if open("alice", "go") {
			t.Error("when the silent ones have ended: got refused")
		}
		for _, c := range clients {
			_ = c.Close()
		}
		synctest.Wait()
	})
}
