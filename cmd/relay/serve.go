package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"relay/auth"
	"relay/relay/config"
)

type serveCmd struct {
	place
	LogLevel string `help:"Log level, in place of the configured one: debug, info, warn or error. Debug lines show targets." placeholder:"LEVEL"`
}

// Help is shown below the usage.
func (*serveCmd) Help() string {
	return `Prints a line "ready PROTOCOL URL" for each listener and inbound once it accepts
connections. SIGHUP (or relay reload) reads the file again, SIGTERM drains and
ends; a second one ends at once.

Example:
  relay serve --config /etc/relay/relay.toml`
}

// Run runs a relay until a signal.
func (c *serveCmd) Run(s streams) error {
	read := func() (*config.Config, []config.Table, error) {
		cfg, tabs, err := c.load()
		if err == nil && len(cfg.Listen) == 0 {
			err = hinted{errors.New("there is no [[listen]] table, so nobody could connect"), noListenHint}
		}
		return cfg, tabs, err
	}
	if c.Config == "" && c.State == "" && existing(systemConfig) == "" {
		return usagef("serve needs a configuration: relay serve --config FILE, or put it at %s", systemConfig)
	}
	cfg, tabs, err := read()
	if err != nil {
		return err
	}
	log, flush, err := logger(s.err, cfg.Log, c.LogLevel)
	if err != nil {
		return err
	}
	defer flush()
	sig := catchSignals()
	held, err := activated()
	if err != nil {
		return err
	}
	in, err := start(cfg, tabs, log, held.listen)
	if err != nil {
		return err
	}
	in.again = read
	for _, f := range openConfig(c.file(), tabs) {
		log.Warn(string(f))
	}
	for _, l := range held.unused() {
		log.Warn("a socket of the service manager is at no address of the configuration", "socket", l)
	}
	if err := in.readyLines(s.out, nil); err != nil {
		in.release()
		return err
	}
	if n, err := countUsers(in.users); err == nil && n == 0 && needsUsers(cfg) {
		log.Warn("there are no users yet; make one with: relay user add NAME")
	}
	runUntilSignal(sig, in, log, func() time.Duration { return in.config().Limits.DrainTimeout })
	return nil
}

const noListenHint = `The shortest useful file:

  [[listen]]
  address = "127.0.0.1:1080"
  inbounds = ["socks5", "http"]

Or try: relay quickstart`

func needsUsers(cfg *config.Config) bool {
	for _, l := range cfg.Listen {
		if l.Anonymous == "" {
			return true
		}
	}
	return false
}

// countUsers counts up to a few.
func countUsers(u *auth.Users) (n int, err error) {
	err = u.Each(func(*auth.Record) bool { n++; return n < 2 })
	return n, err
}

// catchSignals begins to catch the signals of a service: before anything is
// opened, so that one that comes right behind a ready line is not missed.
func catchSignals() chan os.Signal {
	sig := make(chan os.Signal, 4)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return sig
}

// runUntilSignal waits for the signals and answers them.
func runUntilSignal(sig chan os.Signal, in *instance, log *slog.Logger, drain func() time.Duration) {
	defer signal.Stop(sig)
	n := newNotifier()
	defer n.stop()
	n.ready()
	for got := range sig {
		if got == syscall.SIGHUP {
			n.reloading()
			_ = in.reload() // the reason is in the log
			n.ready()
			continue
		}
		n.stopping(drain())
		log.Info("stopping: no new connections; waiting for those that run", "limit", drain())
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			// The second signal is from someone who does not want to wait.
			if s := <-sig; s != syscall.SIGHUP {
				fmt.Fprintln(os.Stderr, "relay: stopping at once")
			}
			cancel()
		}()
		in.stop(ctx, drain())
		cancel()
		return
	}
}
