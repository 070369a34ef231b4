package auth

import (
	"cmp"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// SecretSize is the length of a secret that stands without a name, in bytes.
const SecretSize = 16

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
	Naming

	mu     sync.RWMutex
	byName map[string][]*secret // never changed in place: readers keep the slice
	byID   map[uint64]*secret
	// first are the oldest users of all, as many as one name may have: those whose
	// clients need not say a name. Never changed in place, either.
	first []*secret
	// planned are the places, by ID, that users have here and not in their records.
	planned map[uint64]string

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

// Twin is another user, if there is one, whose clients present the same for a
// label as those of r.
func (u *Users) Twin(r *Record, label string) (twin string, err error) {
	realm := u.store.Realm()
	key, ok := r.Secret(realm, label)
	err = u.store.Each(func(o *Record) bool {
		k, found := o.Secret(realm, label)
		if o.Name != r.Name && (o.Password(realm, label) == r.Password(realm, label) || ok && found && k == key) {
			twin = o.Name
		}
		return twin == ""
	})
	return twin, err
}

func (u *Users) placed() *secrets {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.secrets
}

// finds reports whether clients of a user are looked for. Who is not served has
// no secret: a stranger could tell otherwise that there was one.
func (s *secrets) finds(realm Key, r *Record) bool {
	_, ok := r.Secret(realm, s.Label)
	return ok && !r.Disabled
}

// put adds a user, or what has become of one, where there is room.
func (s *secrets) put(realm Key, r *Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(r.ID)
	key, _ := r.Secret(realm, s.Label)
	at := s.at(r)
	if !s.finds(realm, r) || !slices.Contains(s.Names, at) || len(s.byName[at]) >= s.Most {
		return
	}
	k := &secret{
		user: User{ID: r.ID, Name: r.Name, label: s.Label, generation: r.Generations[s.Label]},
		key:  key, name: at, expires: r.Expires,
	}
	s.byID[r.ID] = k
	list := s.byName[at]
	s.byName[at] = append(list[:len(list):len(list)], k)
	if n := len(s.first); n < s.Most || k.user.ID < s.first[n-1].user.ID {
		i, _ := slices.BinarySearchFunc(s.first, k.user.ID, bySecretID)
		list := slices.Insert(slices.Clone(s.first), i, k)
		s.first = list[:min(len(list), s.Most)]
	}
}

func bySecretID(k *secret, id uint64) int { return cmp.Compare(k.user.ID, id) }

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
	if slices.Contains(s.first, old) {
		list := slices.SortedFunc(maps.Values(s.byID), func(a, b *secret) int { return bySecretID(a, b.user.ID) })
		s.first = list[:min(len(list), s.Most)]
	}
}

// Candidates calls yield with the users whose secret a client of source may
// have presented under a name of label, until it returns false: first those who
// have come from there lately, then those who are connected, then the others.
// There are at most as many as [Users.Place] allows for one name; without a name they
// are the oldest of all. yield reads the key and does not keep it.
func (u *Users) Candidates(label, name string, source netip.Addr, yield func(user User, key *[SecretSize]byte) bool) {
	s := u.placed()
	if s == nil || s.Label != label {
		return
	}
	recent, list := s.lately(u.hash(prefixAddr(source)), name)
	now, tried := u.now(), 0
	try := func(k *secret) bool {
		if k.over(now) {
			return true
		}
		tried++
		return yield(k.user, &k.key) && tried < s.Most
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
	return recent, s.first
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
	if s == nil || s.Label != user.label {
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
	if s == nil || s.Label != user.label {
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
