//go:debug urlstrictcolons=0

// Command relay keeps messengers reachable where they are blocked.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"relay/relay/admin"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

const description = `Relay keeps messengers reachable where they are blocked: a proxy whose links
Telegram and others take as they are.

Try it on this computer:

  relay quickstart

Run it for others, with a configuration file:

  relay check relay.toml
  relay serve --config relay.toml
  relay user add alice --config relay.toml`

// cli is the command line.
type cli struct {
	Quickstart  quickstartCmd  `cmd:"" help:"Start a relay on this computer and print links to paste."`
	Connect     connectCmd     `cmd:"" help:"Run a proxy on this computer that reaches the world through relays elsewhere."`
	Try         tryCmd         `cmd:"" help:"Find out which links work here, and where the others are blocked."`
	Serve       serveCmd       `cmd:"" help:"Run the relay that a configuration file describes."`
	Check       checkCmd       `cmd:"" help:"Check a configuration file and report every fault."`
	Config      configCmd      `cmd:"" help:"Print what the configuration file says, defaults included."`
	Reload      reloadCmd      `cmd:"" help:"Make the running relay read its configuration again."`
	User        userCmd        `cmd:"" help:"Add, show, change and remove users."`
	Import      importCmd      `cmd:"" help:"Take over the users of mtg, telemt, MTProxy or mtprotoproxy, with their secrets."`
	Status      statusCmd      `cmd:"" help:"Show what the running relay does."`
	Fingerprint fingerprintCmd `cmd:"" help:"Capture and check how a browser speaks, for links to other relays."`
	Doctor      doctorCmd      `cmd:"" help:"Look for what can go wrong on this machine."`
	Completion  completionCmd  `cmd:"" help:"Print a completion script for a shell."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is an error of the command line: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hinted is an error with a line for the person who reads it: what to do.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func main() { os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})) }

// exited carries the exit code that kong's help asks for.
type exited int

// run is main for tests too.
func run(args []string, s streams) (code int) {
	defer func() {
		if p := recover(); p != nil {
			c, ok := p.(exited)
			if !ok {
				panic(p)
			}
			code = int(c)
		}
	}()
	var c cli
	// kong ends the program after printing help; here it unwinds to run.
	parser, err := newParser(&c, s, func(code int) { panic(exited(code)) })
	if err != nil {
		fmt.Fprintf(s.err, "relay: %v\n", err)
		return exitFailure
	}
	ctx, err := parser.Parse(meant(args))
	if err != nil {
		return report(s, usageError{plainly(err)}, usageHint(err))
	}
	if err := ctx.Run(s); err != nil {
		return report(s, err, "")
	}
	return 0
}

// meant are the arguments in our words, where people bring those of other programs.
func meant(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(args[1:len(args):len(args)], "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return args
}

// plainly says it in words when a flag at the end lacks its value.
func plainly(err error) error {
	text := err.Error()
	if flag, _, ok := strings.Cut(text, ": expected "); ok && strings.HasSuffix(text, `but got "EOL" (<EOL>)`) {
		return fmt.Errorf("%s needs a value", flag)
	}
	return err
}

func newParser(c *cli, s streams, exit func(int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("relay"),
		kong.Description(description),
		kong.Writers(s.out, s.err),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, NoExpandSubcommands: true}),
		kong.Vars{"version": version()},
		kong.Bind(c),
	)
}

// usageHint points at the help of the command that was meant.
func usageHint(err error) string {
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil {
		if n := pe.Context.Selected(); n != nil {
			return "See: relay " + strings.TrimPrefix(n.FullPath(), "relay ") + " --help"
		}
	}
	return "See: relay --help"
}

// report prints an error and finds its exit code.
func report(s streams, err error, hint string) int {
	fmt.Fprintf(s.err, "relay: %v\n", err)
	var h hinted
	if errors.As(err, &h) {
		hint = h.hint
	}
	if hint != "" {
		fmt.Fprintln(s.err, hint)
	}
	var u usageError
	var a *admin.Error
	if errors.As(err, &u) || errors.As(err, &a) && a.Usage {
		return exitUsage
	}
	return exitFailure
}
