package main

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const numbers = " S 17 4242 4242 0 -1 4194304 900 0 3 0 150 250 30 40 20 0 5 0 1234 1000000 800 18446744073709551615"
	want := processTimes{parent: 17, own: 4 * time.Second, reaped: 700 * time.Millisecond}
	for _, name := range []string{"relay", "a b", "x) R 1 (y", "((", "nginx: worker process)"} {
		got, err := parseStat([]byte("4242 (" + name + ")" + numbers + "\n"))
		if err != nil || got != want {
			t.Errorf("name %q: got %+v and %v, want %+v", name, got, err, want)
		}
	}
	for name, text := range map[string]string{
		"empty":         "",
		"no name":       "4242 relay" + numbers,
		"cut off":       "4242 (relay) S 17 4242",
		"not a number":  strings.Replace("4242 (relay)"+numbers, " 150 ", " x ", 1),
		"parent broken": "4242 (relay)" + strings.Replace(numbers, " 17 ", " - ", 1),
	} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%s: got %+v and no error, want an error", name, got)
		}
	}
}

func TestReadHoldings(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	const more = 10
	// Some for both: they take the places of what this process itself inherited.
	few, many := holdingsOfCat(t, 20), holdingsOfCat(t, 20+more)
	if few.resident < 64<<10 {
		t.Errorf("resident memory of cat: got %d bytes, want at least 64 KiB", few.resident)
	}
	if got := many.descriptors - few.descriptors; got != more {
		t.Errorf("with %d files more: got %d descriptors more, want %d", more, got, more)
	}
}

// holdingsOfCat starts a process that holds more files than it needs.
func holdingsOfCat(t *testing.T, more int) holdings {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cat := exec.Command("cat")
	for range more {
		cat.ExtraFiles = append(cat.ExtraFiles, null)
	}
	in, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	defer cat.Wait()
	defer in.Close()
	// Once it answers, it has closed what it opened to start.
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	h, err := readHoldings(cat.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
