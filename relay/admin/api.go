package admin

import (
	"time"

	"relay/transport"
)

// User is a user as the control socket shows it. It holds no key.
type User struct {
	Name     string     `json:"name"`
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires,omitempty"`
	Disabled bool       `json:"disabled"`
	State    string     `json:"state"` // "active", "disabled", "expired" or "over quota"
	Quota    string     `json:"quota,omitempty"`
	Used     int64      `json:"used"` // bytes in the quota's period; this month without a quota
	MaxConns int        `json:"max_conns,omitempty"`
	MaxIPs   int        `json:"max_ips,omitempty"`
	Rate     string     `json:"rate,omitempty"`
	Bytes    Bytes      `json:"bytes"` // for ever
}

// Bytes are the two directions of a user's traffic.
type Bytes struct {
	Up   int64 `json:"up"`
	Down int64 `json:"down"`
}

// UserLinks is a user with links, which contain passwords.
type UserLinks struct {
	User
	Links []Link `json:"links"`
	// Warnings say which links are not there or will change, and why.
	Warnings []string `json:"warnings,omitempty"`
	// Moved says that a change has put the user under another name, as others have
	// taken the place: links that say the old one have ended.
	Moved bool `json:"moved,omitempty"`
}

// How long a link is likely to live, for Link.Lives.
const (
	Durable  = "durable"  // blocking it costs the censor something
	Burnable = "burnable" // sooner or later its address gets blocked
)

// Link is one address that a user can paste into a client.
type Link struct {
	Protocol string   `json:"protocol"` // the word of the inbound
	URL      string   `json:"url"`
	Note     string   `json:"note,omitempty"`     // what it is for, and what to mind
	Lives    string   `json:"lives,omitempty"`    // Durable, Burnable; empty: it crosses no border
	Warnings []string `json:"warnings,omitempty"` // why clients may not be able to use it
	QR       bool     `json:"qr,omitempty"`       // a phone that scans it can use it
}

// Limits are the settings of a user. In a change, nil leaves a setting as it
// is; an empty string or zero removes it.
type Limits struct {
	Expires  *string           `json:"expires,omitempty"` // "30d", a date, RFC 3339, "" for never
	Quota    *string           `json:"quota,omitempty"`   // "50GiB/month", "10GiB/7d"
	MaxConns *int              `json:"max_conns,omitempty"`
	MaxIPs   *int              `json:"max_ips,omitempty"`
	Rate     *string           `json:"rate,omitempty"`     // "20Mbit"
	Explicit map[string]string `json:"explicit,omitempty"` // label to password
}

// Add asks for new users, all or none.
type Add struct {
	Names []string `json:"names"`
	Limits
}

// Import asks for users from elsewhere, with the secrets that their clients have,
// all or none. A secret that somebody here has already makes nobody; under another
// name it is refused.
type Import struct {
	Users  []ImportUser `json:"users"`
	DryRun bool         `json:"dry_run,omitempty"` // say what would become of them, and make nobody
}

// ImportUser is one of them.
type ImportUser struct {
	Name string `json:"name"` // a number is added if it is taken
	Limits
	// Places are the names, by label, that the clients say. A relay that does not
	// know such a name, or has no room there, makes nobody.
	Places map[string]string `json:"places,omitempty"`
	// Nameless are the labels whose clients say none: only the oldest users are found
	// then, and a relay that has as many already makes nobody.
	Nameless []string `json:"nameless,omitempty"`
	Disabled bool     `json:"disabled,omitempty"`
}

// Imported is what has become of an ImportUser.
type Imported struct {
	Name   string            `json:"name"`            // as asked for
	As     string            `json:"as"`              // as the user is called here
	Known  bool              `json:"known,omitempty"` // was here already
	State  string            `json:"state,omitempty"` // of who is known: why links do not work, as in User
	Places map[string]string `json:"places,omitempty"`
}

// Change asks for a change of one user.
type Change struct {
	Limits
	Disabled *bool    `json:"disabled,omitempty"`
	Rotate   []string `json:"rotate,omitempty"` // labels
}

// Status is the state of a running relay.
type Status struct {
	Version  string                     `json:"version"`
	Started  time.Time                  `json:"started"`
	Listen   []string                   `json:"listen"`
	Live     int                        `json:"live"`              // connections
	Flows    int                        `json:"flows"`             // of them, joined to a target
	Packets  int                        `json:"packets"`           // of them, carrying datagrams
	Dropped  int64                      `json:"datagrams_dropped"` // since the start
	Ends     map[transport.Status]int64 `json:"ends"`
	Bytes    Bytes                      `json:"bytes"` // of users, since the start
	Users    []Activity                 `json:"users"`
	RSS      int64                      `json:"rss"` // bytes of memory
	FDs      int                        `json:"fds"`
	FDLimit  uint64                     `json:"fd_limit"`
	Trouble  string                     `json:"trouble,omitempty"`
	Reloaded *time.Time                 `json:"reloaded,omitempty"`
	Draining *Draining                  `json:"draining,omitempty"` // nil: it takes connections
	DCs      []DC                       `json:"dcs,omitempty"`
	// Upstreams are the ways to other relays; nil: this one dials targets itself.
	Upstreams []Upstream `json:"upstreams,omitempty"`
	// Strangers are those whom the cover has.
	Strangers Strangers `json:"strangers"`
}

// Strangers are connections that were nobody's, and went to the cover.
type Strangers struct {
	Live  int   `json:"live"`
	Bytes Bytes `json:"bytes"` // since the start, of those that have ended
}

// Draining is a relay that stops: it takes no connections, and waits for those
// that it has, which are Status.Live.
type Draining struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"` // then what is left is cut
}

// DC is a data centre of Telegram's that users have asked for within a day.
type DC struct {
	ID    int    `json:"id"`    // as clients ask for it: negative for media only
	At    string `json:"at"`    // host and port of the way in use
	Kind  string `json:"kind"`  // of that way: Direct, WSS
	State string `json:"state"` // of that way: Up, Down, Untried
	// Since is when the way in use began to answer, or to fail.
	Since    *time.Time `json:"since,omitempty"`
	Ways     int        `json:"ways"`      // known
	WaysDown int        `json:"ways_down"` // of them, those that fail
	// LastError is why one of the ways last failed: one of the words of mtproto.Failure.
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
}

// Upstream is a way to a relay that this one dials.
type Upstream struct {
	Name     string        `json:"name"`
	Live     bool          `json:"live"`               // it has a connection
	Streams  int           `json:"streams"`            // open on it
	Opened   int64         `json:"opened"`             // streams since the start
	Took     time.Duration `json:"took_ns"`            // of the last connection, with names and handshake
	Score    float64       `json:"score"`              // how well it does on this network, from 0 to 1; 0.5: unknown
	Failures int           `json:"failures,omitempty"` // in a row
	Trouble  string        `json:"trouble,omitempty"`  // the last failure
	Failed   *time.Time    `json:"failed,omitempty"`   // when that was
	// Probed is the last probe, if there was one, and ProbeError what went wrong then.
	Probed     *time.Time `json:"probed,omitempty"`
	ProbeError string     `json:"probe_error,omitempty"`
}

// How a data centre is reached, for DC.Kind.
const (
	Direct = "direct"
	WSS    = "wss"
)

// What is known of the way to a data centre, for DC.State.
const (
	Up      = "up"
	Down    = "down"
	Untried = "untried"
)

// Activity is what a user does now; anonymous clients have no name.
type Activity struct {
	Name     string `json:"name"`
	Sessions int    `json:"sessions"`
	Bytes    Bytes  `json:"bytes"`
	Rate     Bytes  `json:"rate"` // bytes a second
}

// failure is the body of every error answer.
type failure struct {
	Error string `json:"error"`
	Usage bool   `json:"usage,omitempty"` // the request was at fault
}
