package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"relay/auth"
	"relay/relay/admin"
	"relay/relay/config"
)

// systemConfig is where packages put the configuration.
const systemConfig = "/etc/relay/relay.toml"

// quickstartConfig is what quickstart leaves in its state folder, so that other
// commands know its listeners.
const quickstartConfig = "quickstart.toml"

// place says which relay a command is about.
type place struct {
	Config string `help:"Configuration file of the relay (default: /etc/relay/relay.toml if it exists)." short:"c" placeholder:"FILE" type:"path" env:"RELAY_CONFIG"`
	State  string `help:"State folder of the relay, instead of the one in the configuration." placeholder:"DIR" type:"path" env:"RELAY_STATE"`
}

// file finds the configuration: the named file, the one of a quickstart in the
// state folder, or the system's; "" if there is none.
func (p place) file() string {
	switch {
	case p.Config != "":
		return p.Config
	case p.State != "":
		return existing(filepath.Join(p.State, quickstartConfig))
	}
	return cmp.Or(existing(systemConfig), existing(filepath.Join(config.Default().State, quickstartConfig)))
}

// load reads the configuration, or takes the defaults where there is none.
func (p place) load() (*config.Config, []config.Table, error) {
	tabs := tables()
	c := config.Default()
	if file := p.file(); file != "" {
		var err error
		if c, err = config.Load(file, inboundNames(), tabs); err != nil {
			return nil, nil, err
		}
	}
	if p.State != "" {
		c.State = p.State
	}
	if c.State == "" {
		return nil, nil, usagef("there is no home folder to keep state in: use --state DIR")
	}
	return c, tabs, nil
}

func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// client returns a client of the running relay, or of its database when none
// runs. Only with create is a database made where there is none. done must be
// called in the end.
func (p place) client(create bool) (c *admin.Client, done func(), err error) {
	cfg, tabs, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	return clientOf(cfg, tabs, create)
}

// clientOf is client for a configuration.
func clientOf(cfg *config.Config, tabs []config.Table, create bool) (c *admin.Client, done func(), err error) {
	c, err = admin.Dial(cfg.State)
	switch {
	case err == nil:
		return c, func() {}, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fmt.Errorf("the relay in %s belongs to another user: run this command as that user or as root", cfg.State)
	case runtime.GOOS != "linux" || len(cfg.State) > 90:
		// A path too long for a socket: then no relay can run there either.
	default:
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.State, auth.StoreFile)); !create && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, hinted{
			fmt.Errorf("there are no users in the state folder %s", cfg.State),
			"Make one with relay user add NAME, or name another relay's folder or file with --state or --config.",
		}
	}
	store, err := auth.OpenStore(cfg.State)
	if err != nil {
		return nil, nil, storeHint(err)
	}
	users := auth.NewStopped(store, slog.New(slog.DiscardHandler))
	if _, err := prepare(cfg, tabs, users); err != nil {
		return nil, nil, errors.Join(err, users.Close(), store.Close())
	}
	b := backend(users, func() linker { return linkerOf(cfg, tabs, users) })
	return admin.Local(admin.Handler(b)), func() {
		_ = users.Close()
		_ = store.Close()
	}, nil
}

// backend is what the control API works on, running or not.
func backend(users *auth.Users, k func() linker) admin.Backend {
	return admin.Backend{
		Users: users, Labels: labels(), Passwords: passwords(k),
		Links:    func(r *auth.Record) []link { return k().links(r) },
		Warnings: func(r *auth.Record) []string { return k().warnings(r) },
	}
}

// storeHint says what to do about a database that does not open.
func storeHint(err error) error {
	switch {
	case errors.Is(err, auth.ErrDamaged):
		return hinted{err, "Put a backup in its place, or set it aside and begin with no users: relay doctor --repair"}
	case errors.Is(err, auth.ErrInUse):
		return hinted{err, "Most likely a relay runs on this folder already: relay status shows it, with the same --state or --config. Another relay needs a folder of its own."}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG):
		return hinted{err, "Make room on the disk of the state folder, or choose another folder with --state (relay quickstart: --dir)."}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return hinted{err, "The state folder must be writable for the user who runs the relay; choose another with --state (relay quickstart: --dir), or in the configuration: state = \"…\""}
	}
	return err
}
