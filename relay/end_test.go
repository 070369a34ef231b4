package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/transport"
)

// ends are the ways in which a connection can end, each with its word.
var ends = []struct {
	name string
	want transport.Status
	do   func(r *rig)
}{
	{"both directions", transport.OK, func(r *rig) {
		client, server := r.open("-")
		_, _ = client.CloseWrite(), server.CloseWrite()
	}},
	{"client resets", transport.ClientGone, func(r *rig) {
		client, _ := r.open("-")
		_ = transport.Abort(client)
	}},
	{"target resets", transport.TargetGone, func(r *rig) {
		_, server := r.open("-")
		_ = transport.Abort(server)
	}},
	{"idle", transport.Timeout, func(r *rig) {
		r.open("-")
		time.Sleep(r.set.Limits.Idle + 3*time.Second)
	}},
	{"half closed and idle", transport.Timeout, func(r *rig) {
		client, _ := r.open("-")
		_ = client.CloseWrite()
		time.Sleep(r.set.Limits.Fin + 3*time.Second)
	}},
	{"user disabled", transport.Cut, func(r *rig) {
		r.user("alice", 0)
		client, server := r.open("alice")
		r.disable("alice")
		synctest.Wait()
		r.wantEnd(client, syscall.ECONNRESET)
		r.wantEnd(server, syscall.ECONNRESET)
	}},
	{"disabled before", transport.Denied, func(r *rig) {
		r.user("alice", 0)
		r.disable("alice")
		r.say(r.dial(), "go alice "+targetAddr+"\n", "no\n")
	}},
	{"too many of the user", transport.OverLimit, func(r *rig) {
		r.user("alice", 1)
		client, server := r.open("alice")
		r.say(r.dial(), "go alice "+targetAddr+"\n", "no\n")
		time.Sleep(2 * time.Second)
		if got := r.srv.Snapshot().Ends[transport.OverLimit]; got != 1 {
			r.t.Errorf("ends by over_limit: got %d, want 1 before the other ends", got)
		}
		r.ended = 1
		_, _ = client.Close(), server.Close()
	}},
	{"refused by the target", transport.DialFailed, func(r *rig) { r.say(r.dial(), "go - 203.0.113.5:9\n", "no\n") }},
	{"dial times out", transport.DialFailed, func(r *rig) { r.say(r.dial(), "go - 203.0.113.5:2\n", "no\n") }},
	{"dial fails like a client", transport.DialFailed, func(r *rig) { r.say(r.dial(), "go - 203.0.113.5:3\n", "no\n") }},
	{"policy", transport.Denied, func(r *rig) { r.say(r.dial(), "go - 203.0.113.5:4\n", "no\n") }},
	{"bad request", transport.BadRequest, func(r *rig) { r.say(r.dial(), "go away\n", "what\n") }},
	{"bad target", transport.BadRequest, func(r *rig) { r.say(r.dial(), "go - 127.1:80\n", "what\n") }},
	{"wrong password", transport.AuthFailed, func(r *rig) { r.say(r.dial(), "go wrong "+targetAddr+"\n", "no\n") }},
	{"stranger", transport.NotOurs, func(r *rig) { _, _ = io.WriteString(r.dial(), "GET / HTTP/1.1\r\n") }},
	{"says nothing", transport.Timeout, func(r *rig) { r.dial(); time.Sleep(r.set.Limits.Handshake) }},
	{"gone in the opening", transport.ClientGone, func(r *rig) { _ = r.dial().Close() }},
	{"stopped", transport.Drained, func(r *rig) { r.open("-"); r.shutdown(0) }},
	{"stopped in the opening", transport.Drained, func(r *rig) { r.dial(); synctest.Wait(); r.shutdown(0) }},
}

// failing is a dialer of whose targets some cannot be reached.
func failing(r *rig) {
	inner := r.set.Dialer
	r.set.Dialer = dialer(func(ctx context.Context, to transport.Target) (transport.Conn, error) {
		switch to.Port() {
		case 2:
			time.Sleep(5 * time.Second)
			return nil, os.ErrDeadlineExceeded
		case 3:
			return nil, syscall.ECONNRESET
		case 4:
			return nil, fmt.Errorf("policy: %w", policy.ErrDenied)
		}
		return inner.DialStream(ctx, to, nil)
	})
}

// Every connection ends with one word, counted once, with one line in the log
// that names neither the client nor the target.
func TestEnds(t *testing.T) {
	for _, tt := range ends {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, failing, func(r *rig) {
				tt.do(r)
				time.Sleep(2 * time.Second) // a refused client may linger
				synctest.Wait()
				want := map[transport.Status]int64{tt.want: 1}
				if r.ended > 0 {
					want[transport.OK] = r.ended
				}
				r.wantEnds(want)
				r.wantLines(tt.want, int(1+r.ended))
			})
		})
	}
	seen := make(map[transport.Status]bool)
	for _, tt := range ends {
		seen[tt.want] = true
	}
	for _, word := range transport.Statuses {
		if !seen[word] {
			t.Errorf("status word %s: got no test, want one", word)
		}
	}
}

// wantLines checks the log of ended connections.
func (r *rig) wantLines(word transport.Status, n int) {
	r.t.Helper()
	log := r.log.String()
	if got := strings.Count(log, "connection ended"); got != n {
		r.t.Errorf("lines: got %d, want %d:\n%s", got, n, log)
	}
	if !strings.Contains(log, "level=INFO msg=\"connection ended\" inbound=") || !strings.Contains(log, "status="+string(word)+" ") {
		r.t.Errorf("line: got %s, want the inbound and status=%s", log, word)
	}
	for _, secret := range []string{clientIP, "203.0.113.5", "443", "10.0.0.1", "alice", "GET", "127.1"} {
		if strings.Contains(log, secret) {
			r.t.Errorf("log: got %s, want no address, target or name such as %q", log, secret)
		}
	}
}

// A refused client gets its answer, though it has sent more than we read:
// closing with unread bytes would be a reset, which throws the answer away.
func TestRefusedClientGetsItsAnswer(t *testing.T) {
	for name, line := range map[string]string{
		"auth": "go wrong " + targetAddr, "request": "go away", "dial": "go - 203.0.113.5:9", "policy": "go - 203.0.113.5:4",
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, failing, func(r *rig) {
				c := r.dial()
				_, _ = io.WriteString(c, line+"\n"+strings.Repeat("pipelined ", 5000))
				time.Sleep(500 * time.Millisecond) // the client is slow to read
				got, err := io.ReadAll(c)
				if (string(got) != "no\n" && string(got) != "what\n") || err != nil {
					t.Errorf("answer: got %q, %v, want all of it and an orderly end", got, err)
				}
				// A client that never stops sending is not waited for.
				began := time.Now()
				for err = nil; err == nil; time.Sleep(10 * time.Millisecond) {
					_, err = io.WriteString(c, "more")
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("refused client is read from for %v, want a second at most", took)
				}
				_ = c.Close()
			})
		})
	}
}

// Where the protocol has no reply, a failed dial is a reset and at once: an
// orderly end would look like a target with nothing to say.
func TestRefusedWithoutAReply(t *testing.T) {
	for name, tt := range map[string]struct {
		to, say string
		want    transport.Status
	}{
		"dial":              {"203.0.113.5:9", "", transport.DialFailed},
		"dial, early bytes": {"203.0.113.5:9", "hello", transport.DialFailed},
		"policy":            {"203.0.113.5:4", "", transport.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, func(r *rig) {
				failing(r)
				r.set.Listeners[0].Route = []relay.Candidate{&eager{to: tt.to}}
			}, func(r *rig) {
				began := time.Now()
				c := r.dial()
				_, _ = io.WriteString(c, tt.say)
				r.wantEnd(c, syscall.ECONNRESET)
				if took := time.Since(began); took != 0 {
					t.Errorf("reset after %v, want at once", took)
				}
				r.wantEnds(map[transport.Status]int64{tt.want: 1})
				_ = c.Close()
			})
		})
	}
}

// Dialling may take longer than what is left of the time for the opening.
func TestSlowDial(t *testing.T) {
	inRig(t, func(r *rig) {
		inner := r.set.Dialer
		r.set.Dialer = dialer(func(ctx context.Context, to transport.Target) (transport.Conn, error) {
			time.Sleep(15 * time.Second)
			return inner.DialStream(ctx, to, nil)
		})
	}, func(r *rig) {
		client, server := r.open("-") // the limit for the opening is 10 s
		_, _ = client.Close(), server.Close()
	})
}

func TestCutWhileDialling(t *testing.T) {
	inRig(t, func(r *rig) {
		r.set.Dialer = dialer(func(ctx context.Context, to transport.Target) (transport.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
	}, func(r *rig) {
		r.user("alice", 0)
		r.user("bob", 0)
		alice, bob := r.dial(), r.dial()
		_, _ = io.WriteString(alice, "go alice "+targetAddr+"\n")
		_, _ = io.WriteString(bob, "go bob "+targetAddr+"\n")
		synctest.Wait()
		r.disable("alice")
		if got, err := io.ReadAll(alice); string(got) != "no\n" || err != nil {
			t.Errorf("disabled user: got %q, %v, want a refusal", got, err)
		}
		_ = alice.Close()
		r.wantEnds(map[transport.Status]int64{transport.Denied: 1})
		if got := r.srv.Snapshot().Live; got != 1 {
			t.Errorf("live: got %d, want the other user's connection", got)
		}
		_ = bob.Close()
	})
}

// A cut that comes when the target has just been reached ends the flow.
func TestCutAfterDialling(t *testing.T) {
	inRig(t, func(r *rig) {
		inner := r.set.Dialer
		r.set.Dialer = dialer(func(ctx context.Context, to transport.Target) (transport.Conn, error) {
			far, err := inner.DialStream(ctx, to, nil)
			r.disable("alice")
			synctest.Wait()
			return far, err
		})
	}, func(r *rig) {
		r.user("alice", 0)
		client := r.dial()
		_, _ = io.WriteString(client, "go alice "+targetAddr+"\n")
		server, err := r.target.Accept()
		if err != nil {
			t.Fatalf("accept: got %v, want nil", err)
		}
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("target: got %v, want ECONNRESET", err)
		}
		_, _ = client.Close(), server.Close()
		r.wantEnds(map[transport.Status]int64{transport.Cut: 1})
	})
}

// A relay whose database is gone refuses users, and does not blame the clients.
func TestDatabaseTrouble(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.user("alice", 0)
		_ = r.store.Close()
		r.say(r.dial(), "go alice "+targetAddr+"\n", "no\n")
		time.Sleep(2 * time.Second)
		r.wantEnds(map[transport.Status]int64{transport.Denied: 1})
	})
}

func (r *rig) disable(name string) {
	r.t.Helper()
	_, err := r.users.Update(name, func(rec *auth.Record) error { rec.Disabled = true; return nil })
	if err != nil {
		r.t.Errorf("disable: got %v, want nil", err)
	}
}

// A flood of strangers writes a bounded number of lines, and none is lost from
// the counts.
func TestLinesOfStrangersAreBounded(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		const n = 500
		for range n {
			c := r.dial()
			_, _ = io.WriteString(c, "junk")
			synctest.Wait()
			_ = c.Close()
		}
		synctest.Wait()
		if got := r.srv.Snapshot().Ends[transport.NotOurs]; got != n {
			t.Errorf("counted: got %d, want %d", got, n)
		}
		if got := strings.Count(r.log.String(), "connection ended"); got == 0 || got > 150 {
			t.Errorf("lines: got %d for %d strangers, want at most 150", got, n)
		}
	})
}
