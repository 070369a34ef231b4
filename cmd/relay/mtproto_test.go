package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay/config"
	"relay/relay/mtproto"
	"relay/transport/faketls"
)

// TestObserver is that each user's wrong clock is told once a minute, and that no
// number of them is remembered for ever.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		k := &mtprotoKeep{told: make(map[event]time.Time)}
		observe := k.observer(slog.New(slog.NewTextHandler(&out, nil)))
		wrong := func(name string) { observe(faketls.Event{Kind: faketls.ClockWrong, User: auth.User{Name: name}}) }
		for range 3 {
			wrong("alice")
			wrong("bob")
		}
		time.Sleep(time.Minute)
		wrong("alice")
		if a, b := strings.Count(out.String(), "user=alice"), strings.Count(out.String(), "user=bob"); a != 2 || b != 1 {
			t.Errorf("got %d and %d lines, want 2 and 1:\n%s", a, b, out.String())
		}
		for i := range 3 * mostTold {
			wrong(strings.Repeat("x", 1+i%40) + time.Duration(i).String())
		}
		if len(k.told) > mostTold {
			t.Errorf("remembered: got %d, want %d at most", len(k.told), mostTold)
		}
	})
}

// TestObserverFull is that who fills the replay memory is named once a minute, and that
// nobody is blamed for a hello from before the start.
func TestObserverFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		k := &mtprotoKeep{told: make(map[event]time.Time)}
		observe := k.observer(slog.New(slog.NewTextHandler(&out, nil)))
		observe(faketls.Event{Kind: faketls.Forgotten, User: auth.User{Name: "alice"}})
		if out.Len() > 0 {
			t.Errorf("before the start: got %s, want no line", out.String())
		}
		for range 3 {
			observe(faketls.Event{Kind: faketls.Full, User: auth.User{Name: "mallory"}})
			observe(faketls.Event{Kind: faketls.Full})
		}
		one, all := "rotate or disable the user\" user=mallory", "no user's are the most"
		if strings.Count(out.String(), one) != 1 || strings.Count(out.String(), all) != 1 || strings.Count(out.String(), "\n") != 2 {
			t.Errorf("got %s, want one line of mallory and one of all", out.String())
		}
	})
}

const helloName = "[mtproto]\nnames = ['one.example']\n"

// served says whether a relay answers a hello.
func served(t *testing.T, address string, wire []byte) bool {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(wire); err != nil {
		t.Fatal(err)
	}
	n, err := io.ReadFull(c, make([]byte, 5))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("neither an answer nor an end within 10 s")
	}
	return n == 5
}

// helloRelay is a relay with FakeTLS and the key of its user.
func helloRelay(t *testing.T, dir, address string, log *slog.Logger) (in *instance, key [16]byte) {
	t.Helper()
	cfg, tabs := mtprotoAt(t, dir, address, helloName)
	in, err := start(cfg, tabs, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.users.Add(&auth.Record{Name: "a"}); err != nil && !errors.Is(err, auth.ErrUserExists) {
		t.Fatal(err)
	}
	in.users.Candidates(mtproto.Label, "one.example", netip.MustParseAddr("192.0.2.1"), func(_ auth.User, k *[auth.SecretSize]byte) bool {
		key = *k
		return false
	})
	return in, key
}

// A reload with another skew is in force for the memory, too.
func TestReloadSkew(t *testing.T) {
	dir, address := stateDir(t), freeAddress(t)
	in, key := helloRelay(t, dir, address, slog.New(slog.DiscardHandler))
	defer in.release()
	hello := func() []byte {
		return faketls.Hello(faketls.Classic, "one.example", &key, time.Now().Add(5*time.Minute))
	}
	first := hello()
	if served(t, address, first) {
		t.Fatal("a clock ahead by five minutes: got an answer, want none")
	}
	reload := func(skew string) {
		in.again = func() (*config.Config, []config.Table, error) {
			cfg, tabs := mtprotoAt(t, dir, address, helloName+"skew = '"+skew+"'\n")
			return cfg, tabs, nil
		}
		if err := in.reload(); err != nil {
			t.Fatal(err)
		}
	}
	reload("10m")
	if !served(t, address, first) || served(t, address, first) {
		t.Error("with a skew of ten minutes: want an answer once")
	}
	reload("2m")
	if served(t, address, first) || served(t, address, hello()) {
		t.Error("with a skew of two minutes again: got an answer, want none")
	}
	reload("10m")
	if served(t, address, first) || !served(t, address, hello()) {
		t.Error("with ten minutes once more: want an answer to a new hello only")
	}
}
