package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"relay/relay/admin"
	"relay/relay/config"
)

type checkCmd struct {
	File  string `arg:"" help:"Configuration file." type:"path"`
	Cover bool   `help:"Also connect to the cover and ask the DNS for its names."`
}

// Help is shown below the usage.
func (*checkCmd) Help() string {
	return `Every fault is reported at once, each with its line. Nothing is changed, and nothing
opened but the folder of the site, the certificates of the cover and their keys, and the
files that have links and secrets. Certificates that serve would refuse are an error. With
--cover the cover is visited as well: warnings tell if it is far away, lacks what browsers
expect of TLS, or has a name that leads elsewhere.

Example:
  relay check --cover /etc/relay/relay.toml`
}

// Run checks a file.
func (c *checkCmd) Run(s streams) error {
	tabs := tables()
	cfg, err := config.Load(c.File, inboundNames(), tabs)
	if err != nil {
		return err
	}
	for _, f := range slices.Concat(listenFindings(cfg), coverFindings(cfg), outdatedFindings(cfg, time.Now()), partFindings(cfg, tabs), linkFindings(c.File, tabs)) {
		fmt.Fprintf(s.out, "warning: %s\n", f)
	}
	if len(cfg.Listen) == 0 {
		fmt.Fprintln(s.out, "warning: there is no [[listen]] table: relay serve does not start")
	}
	if c.Cover {
		lookAtCover(cfg, func(ok bool, format string, args ...any) {
			if !ok {
				fmt.Fprintf(s.out, "warning: "+format+"\n", args...)
			}
		})
	}
	err = certificateFault(cfg.Cover)
	if file, away := outOfReach(err); away {
		if !slices.ContainsFunc(cfg.Cover.Certificate.Files, func(f config.CertificateFiles) bool { return f.Cert == file }) {
			fmt.Fprintf(s.out, "warning: %v: nobody has looked whether it is the key of the certificate\n", err)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s is valid.\n", c.File)
	return nil
}

// outOfReach returns the file that an error is about, if it is of another machine or not
// for who checks: that is no fault of the configuration.
func outOfReach(err error) (file string, ok bool) {
	e, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(e, fs.ErrNotExist) && !errors.Is(e, fs.ErrPermission) {
		return "", false
	}
	return e.Path, true
}

type configCmd struct {
	place
}

// Help is shown below the usage.
func (*configCmd) Help() string {
	return `Prints what the file says now, with every default filled in and without secrets.
A relay that runs has it since its start or its last reload.

Example:
  relay config --config /etc/relay/relay.toml`
}

// Run prints the effective configuration.
func (c *configCmd) Run(s streams) error {
	cfg, tabs, err := c.load()
	if err != nil {
		return err
	}
	return cfg.Write(s.out, tabs)
}

type reloadCmd struct {
	place
}

// Help is shown below the usage.
func (*reloadCmd) Help() string {
	return `A file with faults changes nothing: they are printed and the running
configuration stays. Connections that run are not touched in either case.

Example:
  relay reload --config /etc/relay/relay.toml`
}

// Run asks the running relay to reload.
func (c *reloadCmd) Run(s streams) error {
	cl, err := c.running()
	if err != nil {
		return err
	}
	if err := cl.Reload(); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "Reloaded.")
	return nil
}

// running returns a client of the relay that runs, or an error that says how
// to start one.
func (p place) running() (*admin.Client, error) {
	cfg, _, err := p.load()
	if err != nil {
		return nil, err
	}
	cl, err := admin.Dial(cfg.State)
	if err == nil {
		return cl, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("the relay in %s belongs to another user: run this command as that user or as root", cfg.State)
	}
	return nil, hinted{
		fmt.Errorf("no relay is running on the state folder %s", cfg.State),
		"Start one with relay quickstart or relay serve, or name its folder or file with --state or --config.",
	}
}
