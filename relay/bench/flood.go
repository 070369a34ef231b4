package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// floodSettings are what the command line of flood says.
type floodSettings struct {
	relay       string
	connections int
	within      time.Duration // for all of them to come
	hold        time.Duration // from the first, until the load lets go of the rest
	wait        time.Duration // afterwards, until memory is looked at again
	loads       int           // processes
	good        int           // requests beside the flood
	rounds      int
	targets     []string
	kinds       []string
}

const floodUsage = `Usage: go run . flood [flags]          in the folder relay/bench, as root

Floods a relay's MTProto port with connections of strangers, in a network
namespace of its own, while a user makes requests through it; and nginx alone,
to compare with. Prints a Markdown table. README.md says how to read it.

Targets: %s
Kinds of flood: %s

Flags:
`

// parseFloodFlags is parseFlags for flood.
func parseFloodFlags(arguments []string, help io.Writer) (floodSettings, error) {
	s := floodSettings{}
	f := flag.NewFlagSet("flood", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&s.relay, "relay", "../../bin/relay", "the relay to flood, a `FILE` that make build makes")
	f.IntVar(&s.connections, "connections", 30000, "connections of a flood")
	f.DurationVar(&s.within, "within", 4*time.Second, "how long they take to come")
	f.DurationVar(&s.hold, "hold", 8*time.Second, "when the load ends those that the server has not, from the first on")
	f.DurationVar(&s.wait, "wait", time.Minute, "how long after that memory is looked at again")
	f.IntVar(&s.loads, "loads", 3, "processes of the load; none opens more files than its limit allows")
	f.IntVar(&s.good, "good", 400, "requests of a user while the flood comes, and as many before it")
	f.IntVar(&s.rounds, "rounds", 1, "how often; the table has the medians of all, and from the least to the most p95")
	targets := f.String("targets", "", "servers to flood, with commas; empty: all")
	kinds := f.String("kinds", "", "kinds of flood, with commas; empty: all")
	err := f.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(help, floodUsage, strings.Join(floodTargetNames(), ", "), strings.Join(floodKinds, ", "))
		f.SetOutput(help)
		f.PrintDefaults()
		return s, err
	}
	if err != nil {
		return s, err
	}
	if f.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q: there are only flags", f.Arg(0))
	}
	if s.targets, err = chooseNames("-targets", "target", *targets, floodTargetNames()); err != nil {
		return s, err
	}
	if s.kinds, err = chooseNames("-kinds", "kind", *kinds, floodKinds); err != nil {
		return s, err
	}
	for _, l := range []struct {
		name              string
		value, least, top int64
	}{
		{"-connections", int64(s.connections), 1, 200000}, {"-loads", int64(s.loads), 1, 32}, {"-good", int64(s.good), 1, 10000},
		{"-rounds", int64(s.rounds), 1, 50},
		{"-within", s.within.Milliseconds(), 10, 60000}, {"-hold", s.hold.Milliseconds(), s.within.Milliseconds(), 120000},
		{"-wait", s.wait.Milliseconds(), 0, 600000},
	} {
		if l.value < l.least || l.value > l.top {
			return s, fmt.Errorf("%s: got %d, want %d to %d (times in ms)", l.name, l.value, l.least, l.top)
		}
	}
	return s, nil
}

// floodCommand does what the arguments behind "flood" say and returns the exit
// code. "inside WORK" begins those of the process in the namespace.
func floodCommand(arguments []string) int {
	work := ""
	if len(arguments) >= 2 && arguments[0] == "inside" {
		work, arguments = arguments[1], arguments[2:]
	}
	s, err := parseFloodFlags(arguments, os.Stdout)
	code := 0
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\nbench: flood -h lists all flags\n", err)
		return 2
	case runtime.GOOS != "linux" || os.Getuid() != 0:
		err = errors.New("flood needs root on Linux, for a network namespace of its own: nothing of it may leave this machine")
	case work != "":
		if err = setUpNamespace(); err == nil {
			err = floodAll(s, work)
		}
	default:
		code, err = floodOutside(s, arguments)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return code
}

func floodOutside(s floodSettings, arguments []string) (int, error) {
	_, cancel := signal.NotifyContext(context.Background(), endSignals...)
	defer cancel()
	work, err := os.MkdirTemp("", "relay-flood-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	// nginx's worker is somebody else.
	if err := os.Chmod(work, 0o755); err != nil {
		return 0, err
	}
	if err := copyProgram(filepath.Join(work, "relay"), s.relay); err != nil {
		return 0, fmt.Errorf("the relay to flood: %w: run make build, or name it with -relay", err)
	}
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	return runInside(program, append([]string{"flood", "inside", work}, arguments...))
}

// flooding is a run of flood.
type flooding struct {
	settings floodSettings
	work     string
	program  string // this one
	at       ports
	limit    int // of open files
}

// floodAll floods every target with every kind and prints the table. While the
// memory of one target settles, the next is flooded.
func floodAll(s floodSettings, work string) error {
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
	all := &flooding{settings: s, work: work, program: program, at: at, limit: limit}
	var results []*floodResult
	var settling []<-chan struct{}
	for _, kind := range s.kinds {
		for range s.rounds {
			for _, t := range floodTargets {
				if !slices.Contains(s.targets, t.name) || ctx.Err() != nil {
					continue
				}
				r := &floodResult{target: t.name, kind: kind}
				settled, err := all.flood(ctx, t, r)
				if err != nil {
					r.failed = err.Error()
				}
				fmt.Fprintf(os.Stderr, "%s, %s: %d of %d requests served beside %d connections, 95%% of them in %.1f ms; %s\n",
					t.name, kind, r.served, r.good, r.opened, r.busy[1].Seconds()*1000, r.failed)
				results, settling = append(results, r), append(settling, settled)
			}
		}
	}
	for _, settled := range settling {
		if settled != nil {
			<-settled
		}
	}
	writeFlood(os.Stdout, middles(results))
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return nil
}
