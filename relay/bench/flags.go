package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are what the command line says.
type settings struct {
	relay  string
	rounds int
	bytes  uint64
	length time.Duration
	idle   int
	only   []string // names of peers
	tests  []string // names of tests
	user   string
	json   string
	as     *account // nil: this user
}

// webCommand measures the peers that serve VLESS from a web site.
const webCommand = "web"

const usageText = `Usage: go run . [flags]          in the folder relay/bench, or: make bench BENCHFLAGS='[flags]'
       go run . web [flags]      the relay and Xray as servers of VLESS
       go run . upstream [flags] the relay and Xray as its clients, before the same exit

Compares Relay with other proxies on this machine's loopback and prints Markdown
tables: CPU time per GiB, per connection and per round trip, memory and
descriptors per idle connection, and Relay's figures divided by each other
proxy's. Nothing is sent to any other address. README.md says how to read it.

A full run takes about half an hour, those of web and upstream as long. A quick look, which is only good for seeing
that it works:

    go run . -rounds 1 -t 1s -bytes 256MiB -only direct,relay-socks5,microsocks

Peers: %s
Tests: %s

As root it measures in a network namespace of its own. Exit codes: 0, every
measurement was made; 1, some failed; 2, wrong usage.

Flags:
`

// parseFlags reads the command line. What -h asks for, it writes to help and
// returns flag.ErrHelp; every other error is one of usage.
func parseFlags(arguments []string, help io.Writer) (settings, error) {
	s, idle := settings{}, 5000
	command := ""
	if len(arguments) > 0 && (arguments[0] == webCommand || arguments[0] == upstreamCommand) {
		command, arguments = arguments[0], arguments[1:]
		idle = webIdle
		if command == upstreamCommand {
			idle = entryIdle
		}
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard) // main prints errors, once
	f.StringVar(&s.relay, "relay", "../../bin/relay", "the relay to measure, a `FILE` that make build makes")
	f.IntVar(&s.rounds, "rounds", 3, "how often each peer is measured, in turn with the others")
	bytes := f.String("bytes", "0", "length of a bulk test, such as 4GiB; 0: as much as takes 3 s")
	f.DurationVar(&s.length, "t", 5*time.Second, "length of the tests rate, rr and rr-slow; rr-slow takes at least 6s")
	f.IntVar(&s.idle, "idle", idle, "connections of the test idle; fewer if the limit of open files is low")
	only := f.String("only", "", "peers to measure, with commas; empty: all")
	which := f.String("tests", "", "tests to run, with commas; empty: all")
	f.StringVar(&s.user, "user", "", "run the peers as this `NAME`; root only")
	f.StringVar(&s.json, "json", "", "also write every result to `FILE`, as a line of JSON each")
	err := f.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(help, usageText, strings.Join(peersOf(command), ", "), strings.Join(testsOf(command), ", "))
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
	if s.bytes, err = parseBytes(*bytes); err != nil {
		return s, err
	}
	if s.only, err = chooseNames("-only", "peer", *only, peersOf(command)); err != nil {
		return s, err
	}
	if s.tests, err = chooseNames("-tests", "test", *which, testsOf(command)); err != nil {
		return s, err
	}
	for _, l := range []struct {
		name              string
		value, least, top int64
		unit              string
	}{
		{"-rounds", int64(s.rounds), 1, 100, ""},
		{"-idle", int64(s.idle), 1, 1e6, ""},
		{"-t", s.length.Milliseconds(), 100, 5 * 60 * 1000, " ms"},
	} {
		if l.value < l.least || l.value > l.top {
			return s, fmt.Errorf("%s: got %d%s, want %d to %d%s", l.name, l.value, l.unit, l.least, l.top, l.unit)
		}
	}
	if s.user != "" {
		s.as, err = findAccount(s.user)
	}
	return s, err
}

// peersOf are the names of the peers of a command, which may have no name.
func peersOf(command string) []string {
	var names []string
	for _, p := range peers {
		if p.command() == command {
			names = append(names, p.name)
		}
	}
	return names
}

// testsOf are the names of a command's tests. Beside a web server's costs for a
// stream, those with idle connections say nothing new.
func testsOf(command string) []string {
	var names []string
	for _, t := range tests {
		switch {
		case t.plainOnly && command != "", t.webOnly && command == "", t.entryOnly && command != upstreamCommand:
			continue
		}
		names = append(names, t.name)
	}
	return names
}

// chooseNames splits list; an empty one means all.
func chooseNames(flag, what, list string, all []string) ([]string, error) {
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if !slices.Contains(all, names[i]) {
			return nil, fmt.Errorf("%s: unknown %s %q; known: %s", flag, what, names[i], strings.Join(all, ", "))
		}
	}
	return names, nil
}

// parseBytes reads a number of bytes, with a unit or without.
func parseBytes(s string) (uint64, error) {
	number, unit := s, uint64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if before, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = before, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
	if err != nil || n > math.MaxUint64/unit || n*unit > bulkMost {
		return 0, fmt.Errorf("-bytes: got %q, want a number up to %dGiB, such as 512MiB or 4GiB", s, bulkMost>>30)
	}
	return n * unit, nil
}
