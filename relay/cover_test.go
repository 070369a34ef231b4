package relay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay"
	"relay/transport"
)

const coverAddr = "10.0.0.9:443"

// Junk is the cover's, all of it and at once, however it comes.
func TestStrangersBytes(t *testing.T) {
	junk := bytes.Repeat([]byte("GET / HTTP/1.1\r\nX: "), 20)
	first := map[string]string{
		"text": string(junk), "zeros": string(make([]byte, 300)),
		"hello of another": record("who"), "not a hello": "\x16\x03\x01\x00\x05\x02" + string(junk),
		"huge record": "\x16\x03\x01\xff\xff" + string(junk), "other version": "\x16\x04" + string(junk),
	}
	for name, all := range first {
		for _, n := range []int{1, 2, 4, 5, 6, 10, 20, 40, 63, 64, 65, 106, 200} {
			for _, oneByOne := range []bool{false, true} {
				say := all[:min(n, len(all))]
				t.Run(fmt.Sprintf("%s/%d/%v", name, n, oneByOne), func(t *testing.T) {
					coverRig(t, nil, func(r *rig, cover net.Listener) { strangerSays(r, cover, say, oneByOne) })
				})
			}
		}
	}
}

func strangerSays(r *rig, cover net.Listener, say string, oneByOne bool) {
	began := time.Now()
	c := r.dial()
	defer c.Close()
	for i := range say {
		if !oneByOne {
			_, _ = io.WriteString(c, say)
			break
		}
		_, _ = io.WriteString(c, say[i:i+1])
		synctest.Wait()
	}
	s := r.accept(cover)
	if took := time.Since(began); took != 0 && took != strangersClock {
		r.t.Errorf("the cover's connection: got it after %v, want it at once or after %v", took, strangersClock)
	}
	r.wantBytes(s, say)
	r.say(s, "answer", "")
	r.wantBytes(c, "answer")
	_, _ = io.WriteString(c, "more")
	r.wantBytes(s, "more")
	_ = s.CloseWrite()
	r.wantEnd(c, io.EOF)
	_, _ = io.WriteString(c, "last")
	_ = c.CloseWrite()
	r.wantBytes(s, "last")
	r.wantEnd(s, io.EOF)
	_ = s.Close()
	r.wantEnds(map[transport.Status]int64{transport.NotOurs: 1})
}

// A reset on one side is a reset on the other.
func TestStrangersReset(t *testing.T) {
	for _, side := range []string{"visitor", "cover"} {
		coverRig(t, nil, func(r *rig, cover net.Listener) {
			c := r.dial()
			_, _ = io.WriteString(c, "junk")
			s := r.accept(cover)
			r.wantBytes(s, "junk")
			from, to := c, s
			if side == "cover" {
				from, to = s, c
			}
			_ = transport.Abort(from)
			if _, err := to.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("reset by the %s: got %v, want ECONNRESET", side, err)
			}
			_ = to.Close()
		})
	}
}

// The cover's clock starts with the stranger's, and what it says counts.
func TestStrangersClock(t *testing.T) {
	for name, say := range map[string]string{"nothing": "", "a byte": "\x16", "half a hello": record("who")[:40]} {
		t.Run(name, func(t *testing.T) {
			coverRig(t, nil, func(r *rig, cover net.Listener) {
				began := time.Now()
				c := r.dial()
				defer c.Close()
				_, _ = io.WriteString(c, say)
				s := r.accept(cover)
				if took := time.Since(began); took != strangersClock {
					t.Errorf("the cover's connection: got it after %v, want %v", took, strangersClock)
				}
				r.wantBytes(s, say)
				time.Sleep(5 * time.Second)
				_, _ = io.WriteString(c, "\x16"[:1-min(1, len(say))])
				r.wantBytes(s, "\x16"[:1-min(1, len(say))])
				time.Sleep(54*time.Second + 800*time.Millisecond)
				_, _ = io.WriteString(s, "408")
				_ = s.Close()
				r.wantBytes(c, "408")
				r.wantEnd(c, io.EOF)
			})
		})
	}
}

// A user's round trip may be longer than the cover's clock.
func TestSlowUser(t *testing.T) {
	coverRig(t, nil, func(r *rig, cover net.Listener) {
		c := r.dial()
		defer c.Close()
		_, _ = io.WriteString(c, record(helloSecret))
		time.Sleep(5 * time.Second)
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
	})
}

// A hello that comes late is still ours, and the cover is not answered for.
func TestLateHello(t *testing.T) {
	coverRig(t, nil, func(r *rig, cover net.Listener) {
		c := r.dial()
		defer c.Close()
		hello := record(helloSecret)
		_, _ = io.WriteString(c, hello[:7])
		s := r.accept(cover)
		r.wantBytes(s, hello[:7])
		for i := 7; i < len(hello); i++ {
			_, _ = io.WriteString(c, hello[i:i+1])
			time.Sleep(10 * time.Millisecond)
			if i < len(hello)-1 {
				r.wantBytes(s, hello[i:i+1])
			}
		}
		r.wantEnd(s, io.EOF)
		_ = s.Close()
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		far, err := r.target.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		_ = c.Close()
		r.wantEnds(map[transport.Status]int64{transport.OK: 1})
	})
}

// Whoever the cover answers, closes on or resets before his hello is complete is
// a stranger, whatever follows.
func TestCoverAnswersFirst(t *testing.T) {
	for name, answer := range map[string]func(s transport.Conn){
		"answer": func(s transport.Conn) { _, _ = io.WriteString(s, "no"); _ = s.CloseWrite() },
		"end":    func(s transport.Conn) { _ = s.CloseWrite() },
		"reset":  func(s transport.Conn) { _ = transport.Abort(s) },
	} {
		t.Run(name, func(t *testing.T) {
			coverRig(t, nil, func(r *rig, cover net.Listener) {
				c := r.dial()
				defer c.Close()
				hello := record(helloSecret)
				_, _ = io.WriteString(c, hello[:50])
				s := r.accept(cover)
				r.wantBytes(s, hello[:50])
				answer(s)
				synctest.Wait()
				_, _ = io.WriteString(c, hello[50:])
				got, err := io.ReadAll(c)
				switch {
				case name == "reset" && !errors.Is(err, syscall.ECONNRESET):
					t.Errorf("visitor: got %q, %v, want ECONNRESET", got, err)
				case name == "answer" && string(got) != "no", name == "end" && (len(got) > 0 || err != nil):
					t.Errorf("visitor: got %q, %v, want what the cover said", got, err)
				}
				_ = c.Close()
				if name != "reset" {
					r.wantBytes(s, hello[50:])
					_ = s.Close()
				}
				r.wantEnds(map[transport.Status]int64{transport.NotOurs: 1})
			})
		})
	}
}

// A visitor who ends before anybody knows him is the cover's to answer.
func TestStrangerEnds(t *testing.T) {
	for _, late := range []time.Duration{0, time.Second} { // then the cover is shown it before anybody knows
		for _, say := range []string{"", "\x16", record("who")[:40], "junk"} {
			coverRig(t, nil, func(r *rig, cover net.Listener) {
				c := r.dial()
				defer c.Close()
				_, _ = io.WriteString(c, say)
				time.Sleep(late)
				_ = c.CloseWrite()
				s := r.accept(cover)
				r.wantBytes(s, say)
				r.wantEnd(s, io.EOF)
				r.say(s, "bye", "")
				_ = s.Close()
				r.wantBytes(c, "bye")
				r.wantEnd(c, io.EOF)
				r.wantEnds(map[transport.Status]int64{transport.NotOurs: 1})
				if s := r.srv.Snapshot(); s.StrangersUp != int64(len(say)) || s.StrangersDown != 3 {
					t.Errorf("%.9q, %v later: got %d bytes up, %d down, want %d and 3", say, late, s.StrangersUp, s.StrangersDown, len(say))
				}
			})
		}
	}
}

// Without the cover a stranger sees what he would see of a port with nobody on it.
func TestCoverDown(t *testing.T) {
	inRig(t, func(r *rig) { withCover(r) }, func(r *rig) {
		for _, say := range []string{"junk", "\x16"} {
			c := r.dial()
			_, _ = io.WriteString(c, say)
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("stranger who says %q: got %v, want ECONNRESET", say, err)
			}
			_ = c.Close()
		}
		c := r.dial()
		defer c.Close()
		time.Sleep(time.Second) // a user is served all the same
		r.say(c, record(helloSecret)+"go - "+targetAddr+"\n", "ok\n")
	})
}

// There are only so many connections to the cover that nobody may need.
func TestEarlyDialsAreBounded(t *testing.T) {
	const most = 64
	coverRig(t, func(_ *rig, c *relay.Cover) { c.Early = most }, func(r *rig, cover net.Listener) {
		var dialled atomic.Int64
		go func() {
			for {
				if _, err := cover.Accept(); err != nil {
					return
				}
				dialled.Add(1)
			}
		}()
		var all []transport.Conn
		for range most + 10 {
			all = append(all, r.dial())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := dialled.Load(); got != most {
			t.Errorf("connections to the cover after a second: got %d, want %d", got, most)
		}
		time.Sleep(10 * time.Second) // past their handshake limit they are strangers
		synctest.Wait()
		if got := dialled.Load(); got != most+10 {
			t.Errorf("connections to the cover in the end: got %d, want %d", got, most+10)
		}
		for _, c := range all {
			_ = transport.Abort(c)
		}
	})
}

func TestTooManyStrangers(t *testing.T) {
	coverRig(t, func(_ *rig, c *relay.Cover) { c.Connections = 2 }, func(r *rig, cover net.Listener) {
		var held []transport.Conn
		for range 2 {
			c := r.dial()
			_, _ = io.WriteString(c, "junk")
			held = append(held, c, r.accept(cover))
			synctest.Wait()
		}
		c := r.dial()
		_, _ = io.WriteString(c, "junk")
		held = append(held, c, r.accept(cover))
		r.wantEnd(held[0], syscall.ECONNRESET)
		for _, h := range held {
			_ = h.Close()
		}
		r.wantEnds(map[transport.Status]int64{transport.NotOurs: 3})
	})
}

// When the relay is full, a stranger makes room for whoever may be a user.
func TestStrangerMakesRoom(t *testing.T) {
	coverRig(t, func(r *rig, _ *relay.Cover) { r.set.Limits.Connections = 1 }, func(r *rig, cover net.Listener) {
		stranger := r.dial()
		_, _ = io.WriteString(stranger, "junk")
		s := r.accept(cover)
		defer s.Close()
		user := r.dial()
		defer user.Close()
		r.say(user, record(helloSecret)+"go - "+targetAddr+"\n", "ok\n")
		if _, err := stranger.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the stranger: got %v, want ECONNRESET", err)
		}
	})
}

// A listener with nothing but a cover is a way to it.
func TestCoverAlone(t *testing.T) {
	coverRig(t, func(r *rig, _ *relay.Cover) { r.set.Listeners[0].Route = nil }, func(r *rig, cover net.Listener) {
		c := r.dial()
		s := r.accept(cover)
		r.say(s, "220 ready", "")
		r.wantBytes(c, "220 ready")
		_ = c.Close()
		_ = s.Close()
	})
}

// The carrier's user is the one who is served: nobody else, and nobody unproved.
func TestCarrierNamesTheUser(t *testing.T) {
	inRig(t, func(r *rig) {
		withCover(r)
		r.user("alice", 0)
		r.user("bob", 0)
		r.set.Listeners[0].Route = []relay.Candidate{&relay.Carrier{
			Server: &hellos{r.in.users["alice"]}, Inside: []relay.Inbound{r.in},
		}}
	}, func(r *rig) {
		for _, tt := range []struct{ user, answer string }{{"alice", "ok\n"}, {"bob", "no\n"}, {"-", "no\n"}} {
			c := r.dial()
			r.say(c, record(helloSecret)+"go "+tt.user+" "+targetAddr+"\n", tt.answer)
			_ = c.Close()
		}
		c := r.dial()
		_, _ = io.WriteString(c, record(helloSecret)+"not a word that is known\n")
		r.wantEnd(c, io.EOF)
		_ = c.Close()
	})
}

// The site in this process gets the bytes, the time of accept, and the connection.
func TestSite(t *testing.T) {
	var began time.Time
	coverRig(t, func(_ *rig, c *relay.Cover) {
		c.Site = func(c transport.Conn, at time.Time, g transport.Guest) {
			began = at
			go func() {
				down, _ := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				_ = c.Close()
				g.Closed(7, down)
			}()
		}
	}, func(r *rig, _ net.Listener) {
		at := time.Now()
		c := r.dial()
		defer c.Close()
		_, _ = io.WriteString(c, "\x16")
		time.Sleep(5 * time.Second)
		r.say(c, "junk", "\x16junk")
		if s := r.srv.Snapshot(); s.Strangers != 1 || s.StrangersDown != 0 {
			t.Errorf("at the site: got %d strangers and %d bytes, want 1 and none yet", s.Strangers, s.StrangersDown)
		}
		_ = c.CloseWrite()
		r.wantEnd(c, io.EOF)
		if !began.Equal(at) {
			t.Errorf("accepted: got %v, want %v", began, at)
		}
		r.wantEnds(map[transport.Status]int64{transport.NotOurs: 1})
		if s := r.srv.Snapshot(); s.Strangers != 0 || s.StrangersUp != 7 || s.StrangersDown != 5 {
			t.Errorf("after it: got %d strangers, %d bytes up, %d down, want none, 7 and 5", s.Strangers, s.StrangersUp, s.StrangersDown)
		}
	})
}
