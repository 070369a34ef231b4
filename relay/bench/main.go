// Command bench compares Relay with other proxies on loopback: what each costs
// in CPU time, memory and descriptors for the same work. It starts every peer
// itself, one after the other and in rounds, so that what else the machine does
// meets all of them. README.md says how to read the tables.
//
// The load generator is this process; the sink behind the proxies is another
// one of the same program, so that a peer's CPU time is told apart from both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// errNoNamespace is why a run takes place among the machine's other connections.
var errNoNamespace = errors.New("a network namespace of its own is not allowed here")

// errFailed ends a run of which every failure has been reported.
var errFailed = errors.New("failed")

func main() {
	// Children are to end when this process is killed; the kernel counts the
	// thread that started them for that (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	arguments := os.Args[1:]
	if len(arguments) > 0 {
		switch arguments[0] {
		case "sink":
			finish(runSink())
		case "flood-load":
			finish(runFloodLoad())
		case "flood":
			os.Exit(floodCommand(arguments[1:]))
		}
	}
	os.Exit(command(arguments))
}

// finish ends a process that this program has started.
func finish(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// command does what the arguments say and returns the exit code.
func command(arguments []string) int {
	// "inside WORK" begins the arguments of the process in the namespace.
	work := ""
	if len(arguments) >= 2 && arguments[0] == "inside" {
		work, arguments = arguments[1], arguments[2:]
	}
	s, err := parseFlags(arguments, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case runtime.GOOS != "linux":
		fmt.Fprintf(os.Stderr, "bench: measures with /proc and network namespaces, which %s does not have: run it on Linux\n", runtime.GOOS)
		return 1
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\nbench: -h lists all flags\n", err)
		return 2
	}
	code := 0
	if work != "" {
		if err = setUpNamespace(); err == nil {
			err = measureAll(s, work, arguments)
		}
	} else {
		code, err = prepare(s, arguments)
	}
	if err != nil && !errors.Is(err, errFailed) {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil {
		return 1
	}
	return code
}

// prepare gathers the programs to measure in a folder, while there still is a
// network to fetch modules from, and starts the measurement.
func prepare(s settings, arguments []string) (int, error) {
	// From here on a signal is not the end before the folder has been removed.
	ctx, cancel := signal.NotifyContext(context.Background(), endSignals...)
	defer cancel()
	work, err := os.MkdirTemp("", "relay-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	// The user of -user must get at the programs and files in it.
	if err := os.Chmod(work, 0o755); err != nil {
		return 0, err
	}
	// A copy, since that user may have no way to the original.
	if err := copyProgram(filepath.Join(work, "relay"), s.relay); err != nil {
		return 0, fmt.Errorf("the relay to measure: %w: run make build, or name it with -relay", err)
	}
	// Modules of their own fix other versions of what others use.
	for name, of := range map[string]struct{ folder, pkg string }{
		"armon": {".", "./armon"}, "mtg": {"mtg", mtgModule}, "xray": {xrayFolder, xrayModule + "/main"},
	} {
		if !slices.ContainsFunc(peers, func(p peer) bool { return p.base() == name && slices.Contains(s.only, p.name) }) {
			continue
		}
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(work, name), of.pkg)
		build.Dir, build.Env = of.folder, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: build %s: %v: run this program in the folder relay/bench; its module is downloaded once\n%s", name, err, out)
		}
	}
	if ctx.Err() != nil {
		return 0, errors.New("interrupted before the first measurement")
	}
	if os.Getuid() == 0 {
		program, err := os.Executable()
		if err != nil {
			return 0, err
		}
		code, err := runInside(program, append([]string{"inside", work}, arguments...))
		if !errors.Is(err, errNoNamespace) {
			return code, err
		}
	}
	fmt.Fprintln(os.Stderr, "bench: no network namespace of its own (that takes root): the machine's TCP settings apply, its congestion control among them")
	return 0, measureAll(s, work, arguments)
}

func copyProgram(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// measureAll runs all rounds and prints the report.
func measureAll(s settings, work string, arguments []string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), endSignals...)
	defer cancel()
	limit, err := raiseDescriptors()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	sink, at, err := startSink(program)
	if err != nil {
		return err
	}
	defer sink.stop()
	// Without the sink, whatever the load waits for ends at once.
	defer context.AfterFunc(ctx, sink.kill)()
	all := &suite{settings: s, work: work, limit: limit, sink: sink, at: at, progress: os.Stderr}
	if s.json != "" {
		file, err := os.Create(s.json)
		if err != nil {
			return fmt.Errorf("-json: %w", err)
		}
		defer file.Close()
		all.raw = file
	}
	chosen := all.choose()
	if len(chosen) == 0 {
		return errors.New("nothing to measure: the lines above say what to install")
	}
	results := all.rounds(ctx, chosen)
	writeReport(os.Stdout, chosen, results, arguments)
	if ctx.Err() != nil {
		return errors.New("interrupted: the tables hold what was measured until then")
	}
	failures := 0
	for _, r := range results {
		if r.Failed != "" {
			failures++
		}
	}
	if failures > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d of %d measurements failed; the lines above say why\n", failures, len(results))
		return errFailed
	}
	return nil
}

// writeReport prints the tables and what is needed to repeat them.
func writeReport(w io.Writer, chosen []ready, results []result, arguments []string) {
	if len(results) == 0 {
		return
	}
	fmt.Fprintf(w, "Median (least-most) over rounds. CPU time is user and system; in the row direct it is the load generator's own.\n")
	writeTables(w, results)
	fmt.Fprintf(w, "\n- Machine: %s, %d CPUs\n- Go: %s\n", machine(), runtime.NumCPU(), runtime.Version())
	for _, p := range chosen {
		fmt.Fprintf(w, "- %s\n", p.describe(p.path))
	}
	fmt.Fprintf(w, "- Command, in relay/bench: go run . %s\n", strings.Join(quoted(arguments), " "))
}

// quoted returns words as a shell would need them.
func quoted(words []string) []string {
	var out []string
	for _, word := range words {
		if word == "" || strings.ContainsAny(word, " \t\n'\"\\$&;|<>()*?[]#~`!") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		out = append(out, word)
	}
	return out
}
