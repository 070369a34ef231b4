package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"
)

// UUID is what the user's clients present for a label of a protocol whose users
// have UUIDs, beside its password. It changes with that. The version and variant
// say "random" (RFC 9562, Section 5.4).
func (r *Record) UUID(realm Key, label string) (id [16]byte, ok bool) {
	if text, explicit := r.Explicit[uuidOf(label)]; explicit {
		return ParseUUID(text)
	}
	b := r.Key.Credential(realm, uuidOf(label), r.Generations[label], len(id))
	if b == nil {
		return id, false
	}
	id = [16]byte(b)
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id, true
}

// uuidOf is the label under which the UUID that goes with a label is derived.
func uuidOf(label string) string { return label + "/uuid" }

// ParseUUID reads a UUID in hexadecimal, with or without hyphens.
func ParseUUID(text string) (id [16]byte, ok bool) {
	text = strings.ReplaceAll(text, "-", "")
	if len(text) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err == nil
}

// index finds the users of one label by a password that comes without a name.
type index struct {
	label string

	mu     sync.RWMutex
	byHash map[[sha256.Size]byte]*indexed
	byID   map[uint64]*indexed
}

type indexed struct {
	user    User
	hash    [sha256.Size]byte
	uuid    [16]byte
	expires time.Time
}

// Index makes users findable by their password of a label: see [Users.Find].
// Users that are added or changed later are findable as well.
func (u *Users) Index(label string) error {
	x := &index{label: label, byHash: make(map[[sha256.Size]byte]*indexed), byID: make(map[uint64]*indexed)}
	u.changes.Lock()
	defer u.changes.Unlock()
	if u.index(label) != nil {
		return nil
	}
	err := u.store.Each(func(r *Record) bool {
		x.put(u.store.Realm(), r)
		return true
	})
	if err != nil {
		return err
	}
	all := append(slices.Clone(u.allIndexes()), x)
	u.indexes.Store(&all)
	return nil
}

// Find returns whose password of an indexed label this is. How long it takes says
// nothing about other passwords: they are looked for by their hash.
func (u *Users) Find(label, password string) (User, bool) {
	x := u.index(label)
	if x == nil || password == "" {
		return User{}, false
	}
	hash := sha256.Sum256([]byte(password))
	x.mu.RLock()
	k := x.byHash[hash]
	x.mu.RUnlock()
	if k == nil || !k.expires.IsZero() && !u.now().Before(k.expires) {
		return User{}, false
	}
	return k.user, true
}

// UUID is that of a user whom Find has named.
func (u *Users) UUID(user User) (id [16]byte, ok bool) {
	x := u.index(user.label)
	if x == nil {
		return id, false
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	k := x.byID[user.ID]
	if k == nil || k.user != user {
		return id, false
	}
	return k.uuid, true
}

func (u *Users) index(label string) *index {
	for _, x := range u.allIndexes() {
		if x.label == label {
			return x
		}
	}
	return nil
}

func (u *Users) allIndexes() []*index {
	if all := u.indexes.Load(); all != nil {
		return *all
	}
	return nil
}

// reindex is told of every record that is new or has changed.
func (u *Users) reindex(rs ...*Record) {
	for _, x := range u.allIndexes() {
		for _, r := range rs {
			x.put(u.store.Realm(), r)
		}
	}
}

// put adds a user, or what has become of one. Who is not served cannot be found:
// strangers are told the same.
func (x *index) put(realm Key, r *Record) {
	uuid, ok := r.UUID(realm, x.label)
	password := r.Password(realm, x.label)
	k := &indexed{
		user: User{ID: r.ID, Name: r.Name, label: x.label, generation: r.Generations[x.label]},
		hash: sha256.Sum256([]byte(password)), uuid: uuid, expires: r.Expires,
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(r.ID)
	// Of two users with one explicit password the first one has it.
	if !ok || password == "" || r.Disabled || x.byHash[k.hash] != nil {
		return
	}
	x.byHash[k.hash], x.byID[r.ID] = k, k
}

func (x *index) drop(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, k := range x.byID {
		if k.user.Name == name {
			x.remove(id)
			return
		}
	}
}

func (x *index) remove(id uint64) {
	if k := x.byID[id]; k != nil {
		delete(x.byHash, k.hash)
		delete(x.byID, id)
	}
}
