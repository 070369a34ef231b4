package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"time"
)

// Record is all that is kept about a user. Values of it may be shared: change
// a record only through [Users.Update].
type Record struct {
	ID          uint64
	Name        string
	Key         Key `json:"-"`
	Created     time.Time
	Expires     time.Time // zero: never
	Disabled    bool
	Quota       Quota
	MaxConns    int     // 0: no limit
	MaxIPs      int     // 0: no limit
	Rate        BitRate // each direction; 0: no limit
	Generations map[string]uint32
	Explicit    map[string]string `json:"-"` // label to password; see SetExplicit
	Places      map[string]string // label to the name that its clients say; see Users.Place
}

// Format writes the name and nothing else: a record holds passwords.
func (r Record) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "user "+r.Name) }

// LogValue is the name and nothing else.
func (r Record) LogValue() slog.Value { return slog.StringValue(r.Name) }

// Password is what the user's clients present for label.
func (r *Record) Password(realm Key, label string) string {
	if p, ok := r.Explicit[label]; ok {
		return p
	}
	return r.Key.Password(realm, label, r.Generations[label])
}

// SetExplicit gives label a password in place of the derived one. It counts as
// a new generation: who proved the old one has to prove this one.
func (r *Record) SetExplicit(label, password string) {
	r.Rotate(label)
	if r.Explicit == nil {
		r.Explicit = make(map[string]string)
	}
	r.Explicit[label] = password
}

// Rotate gives label, or every one of labels, a new credential. An explicit
// value is dropped: it cannot be rotated otherwise.
func (r *Record) Rotate(labels ...string) {
	gens, expl := maps.Clone(r.Generations), maps.Clone(r.Explicit)
	if gens == nil {
		gens = make(map[string]uint32)
	}
	for _, l := range labels {
		gens[l]++
		delete(expl, l)
		delete(expl, uuidOf(l))
	}
	r.Generations, r.Explicit = gens, expl
}

// ErrName says that a name cannot name a user.
var ErrName = errors.New(`a user name is 1 to 64 letters, digits, ".", "_" or "-", and starts with a letter or digit`)

// CheckName reports whether name can name a user.
func CheckName(name string) error {
	if name == "" || len(name) > 64 {
		return ErrName
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return ErrName
		}
	}
	return nil
}

// CheckExplicit reports whether a password can be used as it is: SOCKS5
// carries 1 to 255 bytes (RFC 1929), Telegram's clients fewer than 128.
func CheckExplicit(p string) error {
	if p == "" || len(p) > 127 {
		return errors.New("a password has 1 to 127 bytes")
	}
	for i := range len(p) {
		if p[i] < 0x20 || p[i] == 0x7f {
			return errors.New("a password holds no control characters")
		}
	}
	return nil
}

// stored is the form of a record on disk: the one place where keys are
// written. Times are Unix seconds.
type stored struct {
	ID          uint64            `json:"id"`
	Key         []byte            `json:"k"`
	Created     int64             `json:"c"`
	Expires     int64             `json:"e,omitempty"`
	Disabled    bool              `json:"d,omitempty"`
	QuotaBytes  int64             `json:"qb,omitempty"`
	QuotaDays   int               `json:"qd,omitempty"`
	MaxConns    int               `json:"mc,omitempty"`
	MaxIPs      int               `json:"mi,omitempty"`
	Rate        int64             `json:"r,omitempty"`
	Generations map[string]uint32 `json:"g,omitempty"`
	Explicit    map[string]string `json:"x,omitempty"`
	Places      map[string]string `json:"p,omitempty"`
}

func (r *Record) encode() ([]byte, error) {
	if r.Key.bytes() == nil {
		return nil, fmt.Errorf("user %q has no key", r.Name)
	}
	s := stored{
		ID: r.ID, Key: r.Key.bytes(), Created: r.Created.Unix(), Disabled: r.Disabled,
		QuotaBytes: int64(r.Quota.Bytes), QuotaDays: r.Quota.Days, MaxConns: r.MaxConns,
		MaxIPs: r.MaxIPs, Rate: int64(r.Rate), Generations: r.Generations, Explicit: r.Explicit, Places: r.Places,
	}
	if !r.Expires.IsZero() {
		s.Expires = max(r.Expires.Unix(), 1) // 0 would be never
	}
	return json.Marshal(s)
}

func decodeRecord(name string, b []byte) (*Record, error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("record of user %q: %w", name, err)
	}
	if len(s.Key) != keySize || s.ID == 0 {
		return nil, fmt.Errorf("record of user %q is incomplete", name)
	}
	r := &Record{
		ID: s.ID, Name: name, Key: keyFrom(s.Key), Created: time.Unix(s.Created, 0).UTC(), Disabled: s.Disabled,
		Quota: Quota{Bytes: Bytes(s.QuotaBytes), Days: s.QuotaDays}, MaxConns: s.MaxConns,
		MaxIPs: s.MaxIPs, Rate: BitRate(s.Rate), Generations: s.Generations, Explicit: s.Explicit, Places: s.Places,
	}
	if s.Expires != 0 {
		r.Expires = time.Unix(s.Expires, 0).UTC()
	}
	return r, nil
}
