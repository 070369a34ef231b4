package auth

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// ErrFull says that every name has as many users as can be tried for one
// connection.
var ErrFull = errors.New("no name has room for another user")

// ErrNoPlace says that a name has no room for the user, or is not known.
var ErrNoPlace = errors.New("the links with this password say a name that is not known here, or full")

// Unnamed is the one name where clients say none.
const Unnamed = "-"

// Naming is how clients of a label say who they are without a user name: by the
// secret, and one of some names, over which users are spread.
type Naming struct {
	Label string
	Key   string // of Record.Places: links of another kind have places of their own
	Names []string
	Most  int // users of one name, as each may have to be tried
}

// Placing is what [Users.Place] has done, or would do.
type Placing struct {
	Left  []string       // users whom no name has room for
	Moved map[string]int // how many have another place, by the one that they had
}

// Place makes users findable by their secret of a label: each is placed under
// one of the names, the least used, and stays there. No name gets more than its
// most. Users that are added, enabled or changed later are placed as well. Who is
// disabled takes nobody's place.
//
// Places of a relay that does not run (see [NewStopped]) are a plan: the same as
// a start would give, but nobody is moved from the place that the links say, and
// nothing is written before the first change. Who had no place gets the planned one
// with that change, as somebody may have been shown it.
func (u *Users) Place(n Naming) (Placing, error) {
	s := &secrets{
		Naming: n, planned: make(map[uint64]string),
		byName: make(map[string][]*secret), byID: make(map[uint64]*secret),
		recent: make(map[uint64][recentUsers]uint64),
	}
	u.changes.Lock()
	defer u.changes.Unlock()
	p, to, err := u.plan(s)
	if err != nil {
		return Placing{}, err
	}
	if u.stopped {
		err = u.pretend(s, to)
	} else {
		err = u.store.ChangeAll(slices.Sorted(maps.Keys(to)), func(r *Record) {
			r.SetPlace(n.Key, to[r.Name])
			s.put(u.store.Realm(), r)
		})
	}
	if err != nil {
		return Placing{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changed++ // records in memory would not know their place
	for _, a := range u.live {
		if k := s.byID[a.rec.ID]; k != nil {
			r := *a.rec
			r.SetPlace(n.Key, k.name)
			a.rec = &r
		}
	}
	u.secrets = s
	return p, nil
}

// plan puts those who stay where they are into s, and finds places, by user, for
// the others; under changes.
func (u *Users) plan(s *secrets) (p Placing, to map[string]string, err error) {
	type moving struct{ name, from string }
	var homeless []moving
	used := make(map[string]int)
	err = u.store.Each(func(r *Record) bool {
		at := r.Places[s.Key]
		switch {
		case !s.finds(u.store.Realm(), r):
		case s.has(at) && used[at] < s.Most:
			used[at]++
			s.put(u.store.Realm(), r)
		default:
			homeless = append(homeless, moving{r.Name, at})
		}
		return true
	})
	p.Moved, to = make(map[string]int), make(map[string]string)
	for _, m := range homeless {
		at, ok := s.leastUsed(used)
		if !ok {
			p.Left = append(p.Left, m.name)
			continue
		}
		used[at]++
		to[m.name] = at
		if !unplaced(m.from) {
			p.Moved[m.from]++
		}
	}
	return p, to, err
}

// pretend has users found where a start of the relay would put them.
func (u *Users) pretend(s *secrets, to map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(to)) {
		r, err := u.store.Get(name)
		if err != nil {
			return err
		}
		s.planned[r.ID] = to[name]
		s.put(u.store.Realm(), r)
		if unplaced(r.Places[s.Key]) {
			u.first = append(u.first, name)
		}
	}
	return nil
}

// keepFirst writes the planned places of users who had none; under changes.
func (u *Users) keepFirst() error {
	s := u.placed()
	err := u.store.ChangeAll(u.first, func(r *Record) { r.SetPlace(s.Key, s.at(r)) })
	if err == nil {
		u.first = nil
	}
	return err
}

// PlaceOf is the name under which clients of a user are looked for. It differs
// from the one in the record where a start of the relay would change that. Without
// ok there is none.
func (u *Users) PlaceOf(label string, r *Record) (at string, ok bool) {
	s := u.placed()
	if s == nil || s.Label != label {
		return "", false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if k := s.byID[r.ID]; k != nil {
		return k.name, true
	}
	if at = r.Places[s.Key]; r.Disabled && s.has(at) {
		return at, true
	}
	return "", false
}

// Nameless reports whether clients of a user are found without a name: those of the
// oldest users, as many as one name may have. Of who is not looked for it is true.
func (u *Users) Nameless(label string, r *Record) bool {
	s := u.placed()
	if s == nil || s.Label != label {
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.byID[r.ID]
	return k == nil || slices.Contains(s.first, k)
}

// RoomNameless is for how many new users that would be so.
func (u *Users) RoomNameless(label string) int {
	s := u.placed()
	if s == nil || s.Label != label {
		return math.MaxInt
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return max(0, s.Most-len(s.byID))
}

// Knows reports whether clients of a label may say a place.
func (u *Users) Knows(label, at string) bool {
	s := u.placed()
	return s != nil && s.Label == label && s.has(at)
}

// unplaced reports whether no link says a place. Unnamed once stood where names do.
func unplaced(at string) bool { return at == "" || at == Unnamed }

func (s *secrets) has(name string) bool { return slices.Contains(s.Names, name) }

// at is the place of a user.
func (s *secrets) at(r *Record) string {
	if at, ok := s.planned[r.ID]; ok {
		return at
	}
	return r.Places[s.Key]
}

// SetPlace gives a record the place that its clients say; see [Users.Add] and
// [Users.Update] for whether that is to be had.
func (r *Record) SetPlace(key, at string) {
	places := maps.Clone(r.Places)
	if places == nil {
		places = make(map[string]string)
	}
	places[key] = at
	r.Places = places
}

// leastUsed is the name with the fewest users, if it has room.
func (s *secrets) leastUsed(used map[string]int) (name string, ok bool) {
	for _, n := range s.Names {
		if name == "" || used[n] < used[name] {
			name = n
		}
	}
	return name, used[name] < s.Most
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
		switch at := r.Places[s.Key]; {
		case r.Disabled: // until it is enabled
		case s.has(at) && used[at] < s.Most:
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

// resettle places a user whose clients can be found again, or say another place,
// before that is stored; under changes. He gets the place that he had while it
// has room.
func (u *Users) resettle(before, r *Record) error {
	s := u.placed()
	if s == nil || !s.finds(u.store.Realm(), r) {
		return nil
	}
	at := r.Places[s.Key]
	asked := at != before.Places[s.Key]
	if !asked && s.finds(u.store.Realm(), before) {
		return nil
	}
	used := s.used()
	switch fits := s.has(at) && used[at] < s.Most; {
	case asked && !fits:
		return fmt.Errorf("%w: %q", ErrNoPlace, at)
	case fits:
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.planned, r.ID)
		return nil
	}
	return s.house(r, used)
}

// house places a user under the least used name, or returns ErrFull.
func (s *secrets) house(r *Record, used map[string]int) error {
	at, ok := s.leastUsed(used)
	if !ok && slices.Equal(s.Names, []string{Unnamed}) {
		return fmt.Errorf("%w: %d users, of whom clients say no name, so that every one is tried; disable or remove users, which frees their places (to expire does not)", ErrFull, s.Most)
	}
	if !ok {
		names, each := "1 name", ""
		if n := len(s.Names); n > 1 {
			names, each = fmt.Sprintf("%d names", n), " each"
		}
		return fmt.Errorf("%w: %s with %d users%s; add a name, or disable or remove users, which frees their places (to expire does not)", ErrFull, names, s.Most, each)
	}
	used[at]++
	r.SetPlace(s.Key, at)
	return nil
}
