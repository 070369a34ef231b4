package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.toml")
	if _, err := Load(path, inbounds, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "deploy/relay.toml") {
		t.Errorf("no file: got %v, want ErrNotExist and what to do", err)
	}
	if _, err := Load(dir, inbounds, nil); err == nil || !strings.Contains(err.Error(), "is a directory; name a file") {
		t.Errorf("folder: got %v, want an error that says so", err)
	}
	if err := os.WriteFile(path, []byte("[log]\nlevel = 'loud'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, inbounds, nil)
	faults, ok := errors.AsType[Faults](err)
	if !ok || len(faults) != 1 || faults[0].File != path || faults[0].Line != 2 || faults[0].Key != "log.level" {
		t.Errorf("a fault: got %v, want one of line 2", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("\n", maxFile+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, inbounds, nil); err == nil {
		t.Error("a file that is too large was accepted")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path, inbounds, nil); err != nil || c == nil {
		t.Errorf("empty file: got %v, %v, want a config and no error", c, err)
	}
}

func TestDefaultState(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("STATE_DIRECTORY", "")
	for _, tt := range []struct{ name, value, want string }{
		{"HOME", "/home/y", "/home/y/.local/state/relay"},
		{"XDG_STATE_HOME", "/xdg", "/xdg/relay"},
		{"STATE_DIRECTORY", "/var/lib/relay:/var/lib/other", "/var/lib/relay"},
	} {
		t.Setenv(tt.name, tt.value)
		if got := Default().State; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A bug of wire.go is told, not a crash.
func TestBadTables(t *testing.T) {
	for _, bad := range []Table{{Name: "log", Options: &front{}}, {Name: "x", Options: front{}}, {Name: "x"}, {Name: "x", Options: (*front)(nil)}} {
		if _, faults := Parse("r", nil, nil, []Table{bad}); len(faults) != 1 {
			t.Errorf("%+v: got %v, want one fault", bad, faults)
		}
	}
}
