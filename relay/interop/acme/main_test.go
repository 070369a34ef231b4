package acme

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The programs under test and beside it.
var relayBin, pebbleBin, challBin string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait.
	_ = flag.Set("test.parallel", "8")
	if testing.Short() {
		fmt.Println("skipped with -short: runs a relay and a certificate authority")
		return
	}
	dir, err := os.MkdirTemp("", "relay-acme-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "acme:", err)
		os.Exit(1)
	}
	code := 1
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "acme:", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build builds what the environment does not name.
func build(dir string) error {
	pebbles := os.Getenv("PEBBLE_DIR")
	if pebbles == "" {
		pebbles = dir
		const module = "github.com/letsencrypt/pebble/v2/cmd/"
		if err := goBuild(filepath.Join("testdata", "pebble"), dir, module+"pebble", module+"pebble-challtestsrv"); err != nil {
			return err
		}
	}
	pebbleBin, challBin = filepath.Join(pebbles, "pebble"), filepath.Join(pebbles, "pebble-challtestsrv")
	if relayBin = os.Getenv("RELAY_BIN"); relayBin != "" {
		var err error
		relayBin, err = filepath.Abs(relayBin)
		return err
	}
	relayBin = filepath.Join(dir, "relay")
	return goBuild(filepath.Join("..", "..", ".."), relayBin, "./cmd/relay")
}

func goBuild(module, to string, what ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", to}, what...)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %v: %w\n%s", what, err, out)
	}
	return nil
}
