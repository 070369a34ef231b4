package auth

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// SecretSize is the length of a secret that stands without a name, in bytes.
const SecretSize = 16

// ErrFull says that every name has as many users as can be tried for one
// connection.
var ErrFull = errors.New("no name has room for another user")

// Secret is what the user's clients present for a label whose protocol carries
// no user name. An explicit value is one in hexadecimal.
func (r *Record) Secret(realm Key, label string) (s [SecretSize]byte, ok bool) {
	if p, explicit := r.Explicit[label]; explicit {
		b, err := hex.DecodeString(p)
		if err != nil || len(b) != SecretSize {
			return s, false
		}
		return [SecretSize]byte(b), true
	}
	b := r.Key.Credential(realm, label, r.Generations[label], SecretSize)
	if b == nil {
		return s, false
	}
	return [SecretSize]byte(b), true
}

// recentUsers is how many users are remembered for one source.
const recentUsers = 4

// mostRecent bounds the sources that are remembered.
const mostRecent = 1 << 14

// secrets finds the users of one label by what their clients present. Clients
// that say one of the names are tried against those who are placed there.
type secrets struct {
	label string
	names []string
	most  int // users of one name

	mu     sync.RWMutex
	byName map[string][]*secret // never changed in place: readers keep the slice
	byID   map[uint64]*secret

	// recent are the users that a source has lately proved to be, the last one
	// first, by the keyed hash of its prefix. Two generations, so that old ones
	// are forgotten without a list.
	recent, before map[uint64][recentUsers]uint64
}

type secret struct {
	user    User
	key     [SecretSize]byte
	name    string
	expires time.Time
}

// Place makes users findable by their secret of a label: each is placed under
// one of names, the least used, and stays there. No name gets more than most
// users; it returns who was left without a place. Users that are added, enabled
// or changed later are placed as well. Who is disabled takes nobody's place.
func (u *Users) Place(label string, names []string, most int) (left []string, err error) {
	s := &secrets{
		label: label, names: slices.Clone(names), most: most,
		byName: make(map[string][]*secret), byID: make(map[uint64]*secret),
		recent: make(map[uint64][recentUsers]uint64),
	}
	u.changes.Lock()
	defer u.changes.Unlock()
	used := make(map[string]int)
	var homeless []string
	err = u.store.Each(func(r *Record) bool {
		at := r.Places[label]
		if !s.finds(u.store.Realm(), r) {
			return true
		}
		if !slices.Contains(names, at) || used[at] >= most {
			homeless = append(homeless, r.Name)
			return true
		}
		used[at]++
		s.put(u.store.Realm(), r)
		return true
	})
	if err != nil {
		return nil, err
	}
	room := min(len(homeless), len(names)*most-len(s.byID))
	homeless, left = homeless[:room], homeless[room:]
	err = u.store.ChangeAll(homeless, func(r *Record) {
		at := leastUsed(names, used)
		used[at]++
		r.place(label, at)
		s.put(u.store.Realm(), r)
	})
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changed++ // records in memory would not know their place
	for _, a := range u.live {
		if k := s.byID[a.rec.ID]; k != nil {
			r := *a.rec
			r.place(label, k.name)
			a.rec = &r
		}
	}
	u.secrets = s
	return left, nil
}

func (r *Record) place(label, at string) {
	places := make(map[string]string)
	for k, v := range r.Places {
		places[k] = v
	}
	places[label] = at
	r.Places = places
}

func leastUsed(names []string, used map[string]int) string {
	best := names[0]
	for _, n := range names[1:] {
		if used[n] < used[best] {
			best = n
		}
	}
	return best
}

// settle places new users before they are stored; under changes. Who comes with
// a place, because clients say it already, gets it while it has room.
func (u *Users) settle(rs []*Record) error {
	s := u.placed()
	if s == nil {
		return nil
	}
	used := s.used()
	var homeless []*Record
	for _, r := range rs {
		switch at := r.Places[s.label]; {
		case r.Disabled: // until it is enabled
		case slices.Contains(s.names, at) && used[at] < s.most:
			used[at]++
		default:
			homeless = append(homeless, r)
		}
	}
	for _, r := range homeless {
		if err := s.house(r, used); err != nil {
			return err
		}
	}
	return nil
}

// resettle places a user who is enabled before that is stored; under changes.
// He gets the place that he had while it has room.
func (u *Users) resettle(r *Record) error {
	s := u.placed()
	if s == nil || !s.finds(u.store.Realm(), r) {
		return nil
	}
	used := s.used()
	if at := r.Places[s.label]; slices.Contains(s.names, at) && used[at] < s.most {
		return nil
	}
	return s.house(r, used)
}

// house places a user under the least used name, or returns ErrFull.
func (s *secrets) house(r *Record, used map[string]int) error {
	at := leastUsed(s.names, used)
	if used[at] >= s.most {
		return fmt.Errorf("%w: %d names with %d users each; add a name", ErrFull, len(s.names), s.most)
	}
	used[at]++
	r.place(s.label, at)
	return nil
}

// used is how many users every name has.
func (s *secrets) used() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	used := make(map[string]int)
	for name, list := range s.byName {
		used[name] = len(list)
	}
	return used
}

// Holders are the names of all users by their secret of a label.
func (u *Users) Holders(label string) (map[[SecretSize]byte]string, error) {
	out := make(map[[SecretSize]byte]string)
	err := u.store.Each(func(r *Record) bool {
		if key, ok := r.Secret(u.store.Realm(), label); ok {
			out[key] = r.Name
		}
		return true
	})
	return out, err
}

func (u *Users) placed() *secrets {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.secrets
}

// finds reports whether clients of a user are looked for. Who is not served has
// no secret: a stranger could tell otherwise that there was one.
func (s *secrets) finds(realm Key, r *Record) bool {
	_, ok := r.Secret(realm, s.label)
	return ok && !r.Disabled
}

// put adds a user, or what has become of one, where there is room.
func (s *secrets) put(realm Key, r *Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(r.ID)
	key, _ := r.Secret(realm, s.label)
	at := r.Places[s.label]
	if !s.finds(realm, r) || !slices.Contains(s.names, at) || len(s.byName[at]) >= s.most {
		return
	}
	k := &secret{
		user: User{ID: r.ID, Name: r.Name, label: s.label, generation: r.Generations[s.label]},
		key:  key, name: at, expires: r.Expires,
	}
	s.byID[r.ID] = k
	list := s.byName[at]
	s.byName[at] = append(list[:len(list):len(list)], k)
}

// dropNamed forgets a user.
func (s *secrets) dropNamed(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, k := range s.byID {
		if k.user.Name == name {
			s.remove(id)
			return
		}
	}
}

func (s *secrets) remove(id uint64) {
	old := s.byID[id]
	if old == nil {
		return
	}
	delete(s.byID, id)
	s.byName[old.name] = slices.DeleteFunc(slices.Clone(s.byName[old.name]), func(k *secret) bool { return k == old })
}

// Candidates calls yield with the users whose secret a client of source may
// have presented under a name of label, until it returns false: first those who
// have come from there lately, then those who are connected, then the others.
// There are at most as many as [Users.Place] allows for one name; the empty name
// stands for all of them. yield reads the key and does not keep it.
func (u *Users) Candidates(label, name string, source netip.Addr, yield func(user User, key *[SecretSize]byte) bool) {
	s := u.placed()
	if s == nil || s.label != label {
		return
	}
	recent, list := s.lately(u.hash(prefixAddr(source)), name)
	now, tried := u.now(), 0
	try := func(k *secret) bool {
		if k.over(now) {
			return true
		}
		tried++
		return yield(k.user, &k.key) && tried < s.most
	}
	for _, k := range recent {
		if !try(k) {
			return
		}
	}
	live := u.connected(list)
	for pass := range 2 {
		for i, k := range list {
			if live[i] == (pass == 0) && !slices.Contains(recent, k) && !try(k) {
				return
			}
		}
	}
}

func (k *secret) over(now time.Time) bool { return !k.expires.IsZero() && !now.Before(k.expires) }

// lately returns who has come from a source, and everybody of a name.
func (s *secrets) lately(source uint64, name string) (recent, list []*secret) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids, ok := s.recent[source]
	if !ok {
		ids = s.before[source]
	}
	for _, id := range ids {
		if k := s.byID[id]; k != nil && (name == "" || k.name == name) {
			recent = append(recent, k)
		}
	}
	if name != "" {
		return recent, s.byName[name]
	}
	for _, n := range s.names {
		list = append(list, s.byName[n]...)
	}
	return recent, list
}

// connected tells who of a list has sessions.
func (u *Users) connected(list []*secret) []bool {
	out := make([]bool, len(list))
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, k := range list {
		a := u.live[k.user.Name]
		out[i] = a != nil && len(a.sessions) > 0
	}
	return out
}

// Proved remembers who a client of source has proved to be.
func (u *Users) Proved(source netip.Addr, user User) {
	s := u.placed()
	if s == nil || s.label != user.label {
		return
	}
	h := u.hash(prefixAddr(source))
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, ok := s.recent[h]
	if !ok {
		ids = s.before[h]
	}
	if ids[0] == user.ID && ok {
		return
	}
	i := slices.Index(ids[:], user.ID)
	if i < 0 {
		i = recentUsers - 1
	}
	copy(ids[1:i+1], ids[:i])
	ids[0] = user.ID
	if len(s.recent) >= mostRecent {
		s.before, s.recent = s.recent, make(map[uint64][recentUsers]uint64)
	}
	s.recent[h] = ids
}

// SecretOf is the secret of a user that Candidates has named.
func (u *Users) SecretOf(user User) (key [SecretSize]byte, ok bool) {
	s := u.placed()
	if s == nil || s.label != user.label {
		return key, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.byID[user.ID]
	if k == nil || k.user != user {
		return key, false
	}
	return k.key, true
}

// prefixAddr is the network that one household or one carrier's gateway shares.
func prefixAddr(a netip.Addr) netip.Addr {
	bits := 24
	if a = a.Unmap(); a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return a
	}
	return p.Addr()
}
