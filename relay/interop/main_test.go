package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// relayBin is the program under test, set once by TestMain. programs is a folder
// for those that several tests build and use.
var relayBin, programs string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if testing.Short() {
		return m.Run() // every test skips itself, so nothing is built
	}
	dir, err := os.MkdirTemp("", "relay-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	if relayBin = os.Getenv("RELAY_BIN"); relayBin != "" {
		abs, err := filepath.Abs(relayBin)
		if err != nil {
			fmt.Fprintln(os.Stderr, "interop:", err)
			return 1
		}
		relayBin = abs
		return m.Run()
	}
	relayBin = filepath.Join(dir, "relay")
	build := exec.Command("go", "build", "-o", relayBin, "./cmd/relay")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "interop: build relay: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// integration skips t under -short, and for no other reason: a peer that is not
// installed is a failure, or the suite would prove nothing and say nothing.
func integration(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("drives a real relay and real clients")
	}
}
