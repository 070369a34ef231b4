package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/auth"
	"relay/transport/faketls"
)

// A hello that was accepted is a replay for the next process as well, when the relay
// has ended in order.
func TestHellosOutliveARestart(t *testing.T) {
	dir, address := stateDir(t), freeAddress(t)
	file, log := filepath.Join(dir, hellosFile), slog.New(slog.DiscardHandler)
	in, key := helloRelay(t, dir, address, log)
	stop := func() { in.stop(t.Context(), time.Second) }
	ahead := faketls.Hello(faketls.Classic, "one.example", &key, time.Now().Add(time.Minute))
	past := faketls.Hello(faketls.Classic, "one.example", &key, time.Now())
	if !served(t, address, ahead) || !served(t, address, past) {
		t.Fatal("first: got no answer")
	}
	for _, name := range []string{"restart", "another"} {
		stop()
		fi, err := os.Stat(file)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Fatalf("%s: file: got %v, %v, want mode 0600", name, fi, err)
		}
		in, _ = helloRelay(t, dir, address, log)
		if served(t, address, ahead) || served(t, address, past) {
			t.Errorf("%s: replay: got an answer, want none", name)
		}
	}
	if !served(t, address, faketls.Hello(faketls.Classic, "one.example", &key, time.Now().Add(time.Minute))) {
		t.Error("another hello: got no answer")
	}
	stop()
}

// Where nothing is left to replay there is no file, and one that is broken or too old
// stops nobody.
func TestHellosFile(t *testing.T) {
	old, _ := json.Marshal(auth.SavedReplays{From: 1000, Seconds: map[int64]map[uint64][]byte{1000: {1: make([]byte, 16)}}})
	future, _ := json.Marshal(auth.SavedReplays{From: 1 << 60})
	ahead, _ := json.Marshal(auth.SavedReplays{From: time.Now().Unix() + 100})
	for _, tt := range []struct {
		name, text string
		warns      bool // of what the relay before has left
	}{
		{"none", "", false},
		{"broken", "{\"from\":", true},
		{"another form", `{"seconds":{"x":1}}`, true},
		{"from the future", string(future), true},
		{"too large", strings.Repeat(" ", mostHellos+1), true},
		{"too old", string(old), false},
		{"the clock was set back", string(ahead), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, address := stateDir(t), freeAddress(t)
			file := filepath.Join(dir, hellosFile)
			if tt.text != "" {
				if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var lines lockedBuffer
			in, _ := helloRelay(t, dir, address, slog.New(slog.NewTextHandler(&lines, nil)))
			if got := strings.Contains(lines.String(), "has left about hellos"); got != tt.warns {
				t.Errorf("log: got %s, want a warning %v", lines.String(), tt.warns)
			}
			if got := strings.Contains(lines.String(), "the clock was ahead"); got != (tt.text == string(ahead)) {
				t.Errorf("log: got %s, want it to say of a clock that was set back, and of no other", lines.String())
			}
			in.release()
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("file at the end: got %v, want none", err)
			}
		})
	}
}
