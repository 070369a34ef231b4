package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/admin"
	"relay/relay/config"
)

type doctorCmd struct {
	place
	probeFlags
	Cover  bool `help:"Also connect to the cover and ask the DNS for its name."`
	DCs    bool `name:"dcs" help:"Also connect to Telegram's data centres."`
	Repair bool `help:"Set a damaged user database aside, under another name, so that the relay can start with no users."`
}

// Help is shown below the usage.
func (*doctorCmd) Help() string {
	return `Looks at the configuration, the state folder, the limits of this machine and the
ports. It sends nothing to the network, unless told to probe or to look at the
cover: with --cover it says how far the cover is, what its TLS can do, and whether
its name leads here; with --dcs which of Telegram's data centres can be reached from
here, by which addresses and over WebSocket. The exit code is 1 if something is wrong.

Example:
  relay doctor --config /etc/relay/relay.toml` + probeHelp
}

// finding is a warning: what may go wrong, and what to do.
type finding string

// Run looks for trouble.
func (c *doctorCmd) Run(s streams) error {
	if ok, err := c.asked(); err != nil || ok {
		if err != nil {
			return err
		}
		return c.probeFlags.run(s)
	}
	bad := 0
	say := func(ok bool, format string, args ...any) {
		word := "ok    "
		if !ok {
			word, bad = "WRONG ", bad+1
		}
		fmt.Fprintf(s.out, word+format+"\n", args...)
	}
	cfg, tabs, err := c.load()
	if err != nil {
		return err
	}
	if file := c.file(); file != "" {
		say(true, "configuration in %s is valid", file)
	} else {
		say(true, "no configuration: these are the defaults; name one with --config")
	}
	for _, f := range slices.Concat(listenFindings(cfg), coverFindings(cfg), partFindings(cfg, tabs), linkFindings(c.file(), tabs), profileFindings(cfg.State, time.Now())) {
		fmt.Fprintf(s.out, "note  %s\n", f)
	}
	lookAtSite(cfg, say)
	if c.Cover {
		lookAtCover(cfg, say)
	}
	if c.DCs {
		lookAtDCs(cfg, tabs, say)
	}
	cl, err := admin.Dial(cfg.State)
	running := err == nil
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("the relay in %s belongs to another user: run this command as that user or as root", cfg.State)
	}
	if running {
		st, err := cl.Status()
		switch {
		case err != nil:
			say(false, "the relay that runs does not answer: %v", err)
		case st.Trouble != "":
			say(false, "the relay that runs is in trouble: %s", st.Trouble)
		default:
			say(true, "a relay runs on this folder, on %s", strings.Join(st.Listen, ", "))
		}
	}
	if err := c.database(s, cfg.State, running); err != nil {
		say(false, "%s", withHint(err))
	} else if hasUsers(cfg.State) {
		say(true, "user database in %s", cfg.State)
	} else {
		say(true, "no users yet in %s", cfg.State)
	}
	say(descriptorLimit() >= fewDescriptors, "up to %d descriptors, enough for %d connections (raise it with LimitNOFILE= or ulimit -n)", descriptorLimit(), connectionsFor(descriptorLimit()))
	say(time.Now().Year() >= 2026, "the clock says %s", time.Now().Format(time.DateTime))
	if !running {
		for _, address := range addresses(cfg) {
			if err := bindable(address); err != nil {
				say(false, "%s", withHint(err))
			} else {
				say(true, "can listen on %s", address)
			}
		}
	}
	if bad > 0 {
		return fmt.Errorf("wrong: %d", bad)
	}
	return nil
}

// database opens the users if no relay has them open, and sets a damaged file
// aside if that was asked for.
func (c *doctorCmd) database(s streams, state string, running bool) error {
	_, err := os.Stat(state)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil // made at the first start
	case err != nil:
		return err
	}
	if err := closed(state); err != nil {
		return err
	}
	if running {
		return nil
	}
	if existing(filepath.Join(state, auth.StoreFile)) == "" {
		return nil
	}
	store, err := auth.OpenStore(state)
	if err == nil {
		return store.Close()
	}
	if !c.Repair || !errors.Is(err, auth.ErrDamaged) {
		return storeHint(err)
	}
	to, err := auth.SetAside(state, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "The damaged user database is now %s. The relay will start with no users.\n", to)
	return nil
}

// withHint is an error and what to do, in the shape of a finding.
func withHint(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return err.Error() + "\n      " + h.hint
	}
	return err.Error()
}

// closed says what in a state folder others can get at.
func closed(state string) error {
	for path, mode := range map[string]string{state: "700", filepath.Join(state, auth.StoreFile): "600"} {
		if fi, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0 {
			return hinted{fmt.Errorf("%s is open to other users of this machine, and with it every key", path), "chmod " + mode + " " + shellQuote(path)}
		}
	}
	return nil
}

// addresses are all at which a relay listens.
func addresses(cfg *config.Config) []string {
	var out []string
	for _, l := range cfg.Listen {
		out = append(out, l.Address)
	}
	for _, a := range []string{cfg.Cover.HTTP, cfg.Admin.Metrics} {
		if a != "" {
			out = append(out, a)
		}
	}
	return out
}

func bindable(address string) error {
	ln, err := relay.Listen(context.Background(), address, 0)
	if err != nil {
		return listenHint(fmt.Errorf("listen on %s: %w", address, err))
	}
	return ln.Close()
}

// partFindings asks every part about the listeners that it is on, and what they have in
// common.
func partFindings(cfg *config.Config, tabs []config.Table) []finding {
	var out []finding
	seen := make(map[finding]bool)
	for _, l := range cfg.Listen {
		for _, word := range l.Inbounds {
			for _, p := range parts {
				if p.name != word || p.doctor == nil {
					continue
				}
				for _, f := range p.doctor(cfg, l, optionsOf(p.name, tabs)) {
					if !seen[f] {
						seen[f] = true
						out = append(out, f)
					}
				}
			}
		}
	}
	return append(out, sharingFindings(cfg)...)
}

// clearTextOnPublic warns of SOCKS5 and HTTP beyond this machine.
func clearTextOnPublic(_ *config.Config, l config.Listen, _ any) []finding {
	ap, ok := listenAddr(l.Address)
	if !ok || ap.Addr().IsLoopback() {
		return nil
	}
	if net.IP(ap.Addr().AsSlice()).IsPrivate() {
		return []finding{finding(fmt.Sprintf("%s: everyone in this network can see the passwords: SOCKS5 and HTTP proxies have no encryption", l.Address))}
	}
	out := []finding{finding(fmt.Sprintf("%s: SOCKS5 and HTTP show passwords and targets to everyone on the way and are easy to recognise and block; use an address of its own that you can afford to lose", l.Address))}
	if l.Anonymous == config.AnonymousPublic {
		out = append(out, finding(fmt.Sprintf("%s: anonymous = \"public\" lets the whole Internet use this relay; it will be found within hours", l.Address)))
	}
	return out
}
