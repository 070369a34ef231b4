package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"relay/relay/upstream"
	"relay/transport"
)

func TestDescribe(t *testing.T) {
	early := time.Date(2026, 11, 21, 9, 30, 0, 0, time.Local)
	late := early.Add(time.Minute)
	for _, tt := range []struct {
		name string
		ways []upstream.State
		want string
	}{
		{"nothing", nil, "not connected: it connects when a program asks"},
		{"untried", []upstream.State{{Name: "a"}, {Name: "b"}}, "not connected: it connects when a program asks"},
		{"one", []upstream.State{{Name: "a"}, {Name: "b", Live: true}}, "connected by b"},
		{"two", []upstream.State{{Name: "a", Live: true}, {Name: "b", Live: true}}, "connected by a and b"},
		{"down", []upstream.State{{Name: "a", Failures: 2, Trouble: "refused", Failed: early}},
			"not connected; last trouble 09:30:00: a: refused"},
		{"the last trouble counts", []upstream.State{
			{Name: "a", Trouble: "refused", Failed: early},
			{Name: "b", Trouble: "no answer", Failed: late},
			{Name: "c", Live: true, Trouble: "frozen", Failed: early},
		}, "connected by c; last trouble 09:31:00: b: no answer"},
	} {
		if got := describe(tt.ways); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestWaysLine is that a line is written when something has changed, and only then.
func TestWaysLine(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		live := false
		set := upstream.New(upstream.Options{
			Ways: []upstream.Way{{Name: "a", Live: func() bool { return live }, Close: func() {}}},
			Log:  slog.New(slog.DiscardHandler), Check: func(transport.Target) error { return nil },
		})
		defer set.Close()
		var out bytes.Buffer
		p := newWaysLine(&out, set, asJSON)
		for range 3 {
			if err := p.look(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		live = true
		for range 3 {
			if err := p.look(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2 {
			t.Fatalf("lines: got %q, want two", lines)
		}
		if !asJSON {
			if lines[0] != "not connected: it connects when a program asks" || lines[1] != "connected by a" {
				t.Errorf("lines: got %q, want that it is connected", lines)
			}
			continue
		}
		var r waysReport
		if err := json.Unmarshal([]byte(lines[1]), &r); err != nil || len(r.Ways) != 1 || !r.Ways[0].Live {
			t.Errorf("second line: got %+v, %v, want the way, live", r, err)
		}
	}
}

// failing is a terminal that has gone.
type failing struct{}

var errTerminal = errors.New("no terminal any more")

func (failing) Write([]byte) (int, error) { return 0, errTerminal }

func TestWaysLineGone(t *testing.T) {
	set := upstream.New(upstream.Options{Log: slog.New(slog.DiscardHandler)})
	defer set.Close()
	if err := newWaysLine(failing{}, set, false).look(time.Now()); err != errTerminal {
		t.Errorf("look: got %v, want %v", err, errTerminal)
	}
}
