package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"relay/auth"
	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/mtproto"
)

type importCmd struct {
	Files  []string `arg:"" help:"Configurations of mtg, telemt, MTProxy or mtprotoproxy." name:"file" type:"path"`
	DryRun bool     `help:"Say what would be done, and do nothing."`
	place
	jsonFlag
}

// Help is shown below the usage.
func (*importCmd) Help() string {
	return `Makes users with the secrets that they have at another proxy for Telegram, so that
their links go on working: where the server's name or address in them leads to this
relay, on the same port. It reads

  mtg            config.toml, or a file with its command line (mtg run …)
  telemt         config.toml
  MTProxy        a file with its command line (-S SECRET …), its systemd unit, or
                 the docker run of Telegram's image (-e SECRET=…)
  mtprotoproxy   config.py, which is read and never run

Everybody is imported or nobody. It says what this relay needs in its configuration,
above all the server names of the links, and what cannot be carried over. Secrets are
not printed. Who is here already, with the same secret, is left as he is, so that an
import can be repeated; under another server name that is refused. So is one that
makes users whose links cannot work; the exit code of --dry-run is 1 then, too.

Examples:
  relay import --dry-run /etc/mtg.toml      # first: what to put into relay.toml
  relay import /etc/mtg.toml --config /etc/relay/relay.toml
  relay import telemt.toml mtproxy.service --json`
}

// Run imports users.
func (c *importCmd) Run(s streams) error {
	all, err := readAll(c.Files)
	if err != nil {
		return err
	}
	cfg, tabs, err := c.load()
	if err != nil {
		return err
	}
	plan := newImportPlan(all, cfg, tabs)
	plan.DryRun = c.DryRun
	if len(plan.crowded) == 0 && (!plan.Refused || c.DryRun) {
		if err := c.propose(cfg, tabs, plan); err != nil {
			return err
		}
	}
	if c.JSON {
		err = writeJSON(s.out, plan)
	} else {
		err = plan.write(s.out)
	}
	if err == nil {
		err = plan.stop()
	}
	return err
}

// readAll reads every file, and reports the faults of all.
func readAll(files []string) ([]*foreign, error) {
	var out []*foreign
	var faults []error
	for _, file := range files {
		f, err := readForeign(file)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		f.expired(time.Now())
		out = append(out, f)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("nobody was imported:\n%w", errors.Join(faults...))
	}
	return out, nil
}

// propose makes the users, or asks what would become of them.
func (c *importCmd) propose(cfg *config.Config, tabs []config.Table, plan *importPlan) error {
	if !c.DryRun || hasUsers(cfg.State) {
		err := plan.ask(cfg, tabs)
		if err == nil || !c.DryRun || !plan.Refused {
			return err
		}
	}
	// A look makes no state folder, and nothing is full because of a name that is
	// missing yet: it is taken in a database of this moment.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "relay-import-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	scratch := *cfg
	scratch.State = dir
	o := optionsOf("mtproto", tabs).(*mtproto.Options)
	o.Names = append(slices.Clone(plan.names(cfg, o)), plan.missingNames...)
	if err := plan.ask(&scratch, tabs); err != nil || ctx.Err() == nil {
		return err
	}
	return errors.New("ended by a signal") // which has waited until the database is gone
}

// ask hands the users to the relay of a configuration.
func (p *importPlan) ask(cfg *config.Config, tabs []config.Table) error {
	cl, done, err := clientOf(cfg, tabs, true)
	if err != nil {
		return err
	}
	defer done()
	req := admin.Import{DryRun: p.DryRun}
	for _, f := range p.from {
		for _, u := range f.Users {
			req.Users = append(req.Users, importUser(u))
		}
	}
	out, err := cl.Import(req)
	if refusal, ok := errors.AsType[*admin.Error](err); ok && refusal.Conflict && p.DryRun {
		p.refuse("%s", refusal.Text) // there is a plan all the same
		return nil
	}
	if err != nil {
		return err
	}
	p.settle(out)
	return nil
}

// hasUsers reports whether a relay keeps users in a folder.
func hasUsers(state string) bool {
	_, err := os.Stat(filepath.Join(state, auth.StoreFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// importUser is a user as the control socket takes it.
func importUser(u foreignUser) admin.ImportUser {
	out := admin.ImportUser{Name: u.Name, Disabled: u.Disabled}
	out.Explicit = map[string]string{mtproto.Label: hex.EncodeToString(u.Key[:])}
	if u.Server != "" {
		out.Places = map[string]string{mtproto.Label: u.Server}
	} else {
		out.Nameless = []string{mtproto.Label}
	}
	if !u.Expires.IsZero() {
		when := u.Expires.UTC().Format(time.RFC3339)
		out.Expires = &when
	}
	if u.MaxConns > 0 {
		out.MaxConns = &u.MaxConns
	}
	if u.MaxIPs > 0 {
		out.MaxIPs = &u.MaxIPs
	}
	return out
}
