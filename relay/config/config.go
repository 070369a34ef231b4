// Package config reads the one TOML file of a relay. It stands before the
// path of a connection: serve builds everything on that path from a Config.
//
// A file is read whole or not at all. Parse reports every fault at once, each
// with its line and what to do about it; a key nobody knows is a fault. An
// empty file is valid. The parts of a relay bring their own tables, so that
// this package knows none of them.
//
// A table may have a Check method (see Table). It is called after the whole
// file has been read, and not about keys whose values could not be.
package config

import (
	"os"
	"path/filepath"
	"time"

	"relay/relay/policy"
)

// Config is what the file says, with defaults where it says nothing.
type Config struct {
	State  string        `toml:"state"` // folder with users and keys
	Listen []Listen      `toml:"listen"`
	Cover  Cover         `toml:"cover"`
	Egress policy.Config `toml:"egress"`
	DNS    policy.DNS    `toml:"dns"`
	Limits Limits        `toml:"limits"`
	Log    Log           `toml:"log"`
	Admin  Admin         `toml:"admin"`
}

// Listen is one address that clients connect to.
type Listen struct {
	Address   string    `toml:"address"`   // "ip:port" or ":port"; the system picks a port for 0
	Public    []string  `toml:"public"`    // hosts that links are made from
	Inbounds  []string  `toml:"inbounds"`  // tried in order
	Anonymous Anonymous `toml:"anonymous"` // who may come without being a user
	// ProxyProtocol are the addresses and ranges of balancers whose connections
	// begin with a PROXY protocol header.
	ProxyProtocol []string `toml:"proxy_protocol"`
	// Cover says whether strangers here see the cover, where the inbounds do
	// not say it.
	Cover *bool `toml:"cover"`
	// Origin says that a CDN or a reverse proxy connects here, without TLS.
	Origin bool `toml:"origin"`
}

// Limits bounds what clients can make the relay spend.
type Limits struct {
	HandshakeTimeout time.Duration `toml:"handshake_timeout"` // from accept to an open target
	IdleTimeout      time.Duration `toml:"idle_timeout"`      // without a byte either way
	FinTimeout       time.Duration `toml:"fin_timeout"`       // idle after one half has ended
	DrainTimeout     time.Duration `toml:"drain_timeout"`     // for sessions when the relay stops
	Connections      int           `toml:"connections"`       // 0: from the descriptor limit
	PerSource        int           `toml:"per_source"`        // unauthenticated at once, per IPv4 address or IPv6 /56
	Trusted          []string      `toml:"trusted"`           // CIDRs that PerSource does not count
	Backlog          int           `toml:"backlog"`           // connections the kernel holds before accept
	Burst            int           `toml:"burst"`             // connections of a source at once; 0: no limit
	BurstPerSecond   float64       `toml:"burst_per_second"`  // connections of a source after that
}

// Log says how the relay logs. Level cannot be "debug": see Check.
type Log struct {
	Format string `toml:"format"` // "text" or "json"
	Level  string `toml:"level"`  // "info", "warn" or "error"
}

// Admin is what an operator looks at.
type Admin struct {
	Metrics    string `toml:"metrics"`     // loopback "ip:port"; empty: no metrics
	UserLabels bool   `toml:"user_labels"` // metrics name users
}

// Table is a part's own table. Options is a pointer to a struct whose fields
// have toml tags, or, for a [[table]], to a slice of such structs. It has the
// defaults and Parse overwrites them, also where it then reports faults: give
// it a fresh one.
//
// Besides the plain kinds a field may be a time.Duration, a type with
// UnmarshalText, a struct with UnmarshalText and toml tags (written as a string
// or as a table), a type with UnmarshalTOML(any) error (written as it likes;
// MarshalTOML() any is for Write), a map, a pointer or an any. A type that
// implements slog.LogValuer is a secret to Write and in faults.
//
// Where Options, or the elements of its slice, have a method
//
//	Check(fault func(key, problem, hint string))
//
// it is called if the file has the table, or a listener names an inbound
// of that name. key is relative to the table, such as "allow[2]"; "" is the
// table itself.
type Table struct {
	Name    string
	Options any
	// Agree, if not nil, is called after Check, on the same occasions. It
	// checks what the options and the rest of the file say together; its keys
	// are those of the whole file, such as "listen[0].anonymous".
	Agree func(c *Config, fault func(key, problem, hint string))
}

// Default returns the config of an empty file. The state folder is the first
// of $STATE_DIRECTORY (set by systemd), $XDG_STATE_HOME/relay and
// ~/.local/state/relay; it is empty if there is no home either.
func Default() *Config {
	return &Config{
		State:  defaultState(),
		Cover:  Cover{Connections: 4096, Early: 1024},
		Egress: policy.Config{DialTimeout: policy.DefaultDialTimeout},
		DNS:    policy.DNS{Timeout: policy.DefaultDNSTimeout},
		Limits: Limits{
			HandshakeTimeout: 10 * time.Second,
			IdleTimeout:      time.Hour,
			FinTimeout:       30 * time.Second,
			DrainTimeout:     30 * time.Second,
			PerSource:        256,
			Backlog:          4096,
			BurstPerSecond:   1,
		},
		Log: Log{Format: "text", Level: "info"},
	}
}

func defaultState() string {
	// systemd joins several folders with colons (systemd.exec(5)); ours names one.
	if dirs := filepath.SplitList(os.Getenv("STATE_DIRECTORY")); len(dirs) > 0 {
		return dirs[0]
	}
	// A relative path here is to be ignored (XDG Base Directory Specification 0.8).
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "relay")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "relay")
}
