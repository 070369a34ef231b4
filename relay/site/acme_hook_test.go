//go:build unix

package site

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// hook makes a solver of a shell script, and a challenge for it.
func hook(t *testing.T, said *lines, script string) (*hookSolver, acme.Challenge) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	h := slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug})
	return &hookSolver{program: file, log: slog.New(h)}, acme.Challenge{
		KeyAuthorization: "token.print", Identifier: acme.Identifier{Type: "dns", Value: "example.org"},
	}
}

func TestHook(t *testing.T) {
	t.Setenv("RELAY_TEST_SECRET", "hunter2")
	said, out := new(lines), filepath.Join(t.TempDir(), "out")
	h, c := hook(t, said, `{ echo "$#" "$@"; pwd; env | sort; } >`+out+`; echo fine >&2`)
	if err := h.Present(t.Context(), c); err != nil {
		t.Fatalf("present: got %v, want nil", err)
	}
	b, err := os.ReadFile(out)
	got := string(b)
	want := "3 present _acme-challenge.example.org " + c.DNS01KeyAuthorization() + "\n/\nLANG=C.UTF-8\n"
	if err != nil || !strings.HasPrefix(got, want) || strings.Contains(got, "hunter2") {
		t.Errorf("the hook was run as: got %q, want %q and PATH", got, want)
	}
	if !strings.Contains(said.String(), "said=fine") {
		t.Errorf("log: got %s, want what the hook said", said)
	}
}

// The end of the relay ends a hook that waits, and what it waits for.
func TestHookCancelled(t *testing.T) {
	h, c := hook(t, new(lines), "echo >$0.runs; sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(h.program + ".runs"); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	began := time.Now()
	if err := h.Present(ctx, c); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %v, want an error at once", err, time.Since(began))
	}
}

func TestHookFails(t *testing.T) {
	said := new(lines)
	h, c := hook(t, said, `head -c 100000 /dev/zero | tr '\0' x >&2; exit 3`)
	err := h.Present(t.Context(), c)
	if err == nil || !strings.HasPrefix(err.Error(), "DNS hook present: exit status 3: xxx") || len(err.Error()) > maxHookOutput+100 {
		t.Errorf("got %.100v, want the exit status and the first of what it said", err)
	}
	// A record that stays behind is worth a warning, and a relay that ends still
	// removes it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.CleanUp(ctx, c); err == nil || !strings.Contains(said.String(), "level=WARN msg=\"a record of a challenge may be left") {
		t.Errorf("clean up: got %.100v and the log %.200s, want a warning", err, said)
	}
}
