package mtproto

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// rig is a relay on loopback with MTProto on the wire, one user, and a cover.
type rig struct {
	t     *testing.T
	srv   *relay.Server
	users *auth.Users
	keys  *keyring
	cover *net.TCPListener
	in    *Inbound
}

func startRelay(t *testing.T, dcs ...string) *rig {
	t.Helper()
	return startChanged(t, func(*Inbound) {}, dcs...)
}

// startChanged is startRelay with an inbound that change has changed.
func startChanged(t *testing.T, change func(*Inbound), dcs ...string) *rig {
	t.Helper()
	relaytest.LeakCheck(t)
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r := &rig{t: t, users: auth.NewUsers(store, log), cover: listen(t)}
	r.srv = relay.New(relay.Options{Log: log, Users: r.users, Splice: splice.New(0)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		r.srv.Shutdown(ctx)
		_ = r.users.Close()
		_ = store.Close()
	})
	alice := &auth.Record{Name: "alice", Key: auth.NewKey()}
	if err := r.users.Add(alice); err != nil {
		t.Fatal(err)
	}
	r.keys = &keyring{
		users: []auth.User{{ID: alice.ID, Name: alice.Name}},
		keys:  [][SecretSize]byte{[SecretSize]byte(alice.Key.Credential(r.users.Realm(), Label, 0, SecretSize))},
	}
	r.in = wire(r.keys)
	r.in.DCs = (&Options{DCs: map[string][]string{"2": dcs}}).Table(nil)
	change(r.in)
	var egress *policy.Egress
	if egress, err = policy.New(policy.Options{Config: policy.Config{Allow: []string{"127.0.0.0/8"}}, Own: func() []netip.AddrPort { return r.srv.Own() }}); err != nil {
		t.Fatal(err)
	}
	to, err := transport.ParseTarget(r.cover.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	err = r.srv.Apply(relay.Settings{
		Listeners: []relay.Listener{{
			Address: "127.0.0.1:0", Route: []relay.Candidate{r.in},
			Cover: &relay.Cover{Target: to, Dialer: egress},
		}},
		Dialer: egress,
		Limits: relay.Limits{Handshake: limit, Idle: time.Minute, Fin: limit, Backlog: 128},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(limit))
	return ln.(*net.TCPListener)
}

func (r *rig) accept(ln *net.TCPListener) *net.TCPConn {
	r.t.Helper()
	c, err := ln.AcceptTCP()
	if err != nil {
		r.t.Fatalf("accept: got %v, want a connection", err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	return c
}

// dial connects and says text.
func (r *rig) dial(text []byte) *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp4", r.srv.Addrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write(text); err != nil {
		r.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// ended waits for every connection to be counted.
func (r *rig) ended(want map[transport.Status]int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	r.srv.Shutdown(ctx)
	for word, got := range r.srv.Snapshot().Ends {
		if got != want[word] {
			r.t.Errorf("ends by %s: got %d, want %d", word, got, want[word])
		}
	}
}

// A client of the relay and its data centre, with either side ending first.
func TestFlow(t *testing.T) {
	for _, first := range []string{"client", "data centre"} {
		for _, early := range []string{"", "said with the frame"} {
			t.Run(first+" "+early, func(t *testing.T) {
				ln := listen(t)
				r := startRelay(t, ln.Addr().String())
				opening, o := dials(11, r.keys.key("alice"), tagPadded, -2)
				raw := r.dial(append(opening, xored(o.forth, early)...))
				client := side{raw, o.forth, o.back}
				if early == "" {
					early = "said behind the frame"
					_, _ = io.WriteString(client, early)
				}
				target := r.accept(ln)
				dc := exchange{t: t, tag: tagPadded, as: -2}.dc(target)
				reads(t, dc, early, "at the data centre")
				_, _ = io.WriteString(dc, "answer")
				reads(t, client, "answer", "at the client")
				ends, stays := client, dc
				if first != "client" {
					ends, stays = dc, client
				}
				_, _ = io.WriteString(ends, "last words")
				_ = ends.Conn.(*net.TCPConn).CloseWrite()
				reads(t, stays, "last words", "at the other side")
				if got, err := io.ReadAll(stays); len(got) > 0 || err != nil {
					t.Errorf("at the other side: got %q, %v, want the end", got, err)
				}
				_, _ = io.WriteString(stays, "an answer to it")
				_ = stays.Conn.(*net.TCPConn).CloseWrite()
				if got, err := io.ReadAll(ends); string(got) != "an answer to it" || err != nil {
					t.Errorf("at %s: got %q, %v, want the answer and the end", first, got, err)
				}
				r.ended(map[transport.Status]int64{transport.OK: 1})
				if got := r.keys.proved; len(got) != 1 || got[0] != "alice" {
					t.Errorf("proved: got %q, want alice", got)
				}
			})
		}
	}
}

// Strangers see the cover, with every byte: noise, beginnings of a frame, and a
// frame that was recorded.
func TestStrangersSeeTheCover(t *testing.T) {
	ln := listen(t)
	r := startRelay(t, ln.Addr().String())
	opening, _ := dials(12, r.keys.key("alice"), tagPadded, 2)
	first := r.dial(append(opening, "payload"...))
	_ = r.accept(ln).Close()
	_ = first.Close()
	others, _ := dials(13, bytes.Repeat([]byte{1}, SecretSize), tagPadded, 2)
	fresh, _ := dials(14, r.keys.key("alice"), tagPadded, 2)
	for name, text := range map[string][]byte{
		"the same again": append(opening, "payload"...),
		"other payload":  append(opening, "something else"...),
		"other secret":   others,
		"noise":          bytes.Repeat([]byte("noise "), 200),
		"63 bytes":       fresh[:63],
		"one byte":       fresh[:1],
		"another tag":    frameOnly(15, r.keys.key("alice"), 0xabababab, 2),
	} {
		c := r.dial(text)
		site := r.accept(r.cover)
		reads(t, site, string(text), name+", at the cover")
		_, _ = io.WriteString(site, "400")
		_ = site.Close()
		reads(t, c, "400", name)
		_ = c.Close()
	}
	_ = ln.SetDeadline(time.Now())
	if c, err := ln.Accept(); err == nil {
		_ = c.Close()
		t.Error("data centre: got a stranger's connection, want none")
	}
}
