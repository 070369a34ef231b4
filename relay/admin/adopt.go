package admin

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"relay/auth"
)

// adopt makes users with secrets from elsewhere.
func (h *handler) adopt(w http.ResponseWriter, q *http.Request) {
	var i Import
	if !read(w, q, &i) {
		return
	}
	h.giving.Lock()
	defer h.giving.Unlock()
	a := adoption{h: h, holders: make(map[string]map[[auth.SecretSize]byte]string), given: make(map[string]*auth.Record), last: make(map[string]int)}
	for _, u := range i.Users {
		if err := a.take(u); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
	}
	if err := a.place(i); err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	if !i.DryRun {
		if err := h.Users.Add(a.records...); err != nil {
			failFor(w, err)
			return
		}
	}
	reply(w, a.out)
}

// adoption is an import on its way.
type adoption struct {
	h       *handler
	holders map[string]map[[auth.SecretSize]byte]string // by label
	given   map[string]*auth.Record                     // names, in this import
	last    map[string]int                              // numbers behind names, of which those before are taken
	clashes []string                                    // why some links would not work
	records []*auth.Record
	out     []Imported
	made    []int // the places of records in out
}

// take plans one user.
func (a *adoption) take(u ImportUser) error {
	if err := auth.CheckName(u.Name); err != nil {
		return fmt.Errorf("%q: %w", u.Name, err)
	}
	r := &auth.Record{Name: u.Name, Created: a.h.Now(), Places: maps.Clone(u.Places), Disabled: u.Disabled}
	if err := a.h.apply(r, u.Limits); err != nil {
		return fmt.Errorf("%q: %w", u.Name, err)
	}
	if err := a.h.labels(slices.Collect(maps.Keys(u.Places))); err != nil {
		return err
	}
	holder, err := a.holder(r)
	if err != nil {
		return err
	}
	if holder != "" {
		a.share(u, holder)
		return nil
	}
	if r.Name, err = a.free(u.Name); err != nil {
		return err
	}
	a.given[r.Name] = r
	for label := range r.Explicit {
		if key, ok := r.Secret(auth.Key{}, label); ok {
			a.holders[label][key] = r.Name
		}
	}
	a.records, a.made = append(a.records, r), append(a.made, len(a.out))
	a.out = append(a.out, Imported{Name: u.Name, As: r.Name})
	return nil
}

// share plans a user whose secret somebody has already.
func (a *adoption) share(u ImportUser, holder string) {
	o := Imported{Name: u.Name, As: holder, Known: true}
	twin := a.given[holder]
	if twin != nil {
		o.Places = maps.Clone(twin.Places)
		twin.Disabled = twin.Disabled && u.Disabled // the link of one of them works
	} else if known, usage, err := a.h.Users.Get(holder); err == nil {
		o.Places = make(map[string]string)
		for _, label := range a.h.Labels {
			if at, ok := a.h.Users.PlaceOf(label, known); ok {
				o.Places[label] = at
			}
		}
		if state := a.h.user(known, usage).State; state != "active" {
			o.State = state
		}
	}
	a.out = append(a.out, o)
	for label, at := range u.Places {
		switch have := cmp.Or(o.Places[label], "no name"); {
		case have == at, have == auth.Unnamed:
		case twin != nil:
			a.clashes = append(a.clashes, fmt.Sprintf("%s under %s has the same secret as %s under %s: leave one of them out", u.Name, at, holder, have))
		default:
			a.clashes = append(a.clashes, fmt.Sprintf("%s under %s has the secret of %s, who is here under %s: leave %s out, or end the links that %s has with relay user rotate %s --only %s", u.Name, at, holder, have, u.Name, holder, holder, label))
		}
	}
}

// holder is who has one of the explicit secrets of a record, if anybody has.
func (a *adoption) holder(r *auth.Record) (string, error) {
	for label := range r.Explicit {
		if a.holders[label] == nil {
			all, err := a.h.Users.Holders(label)
			if err != nil {
				return "", err
			}
			a.holders[label] = all
		}
		// An explicit secret does not depend on the realm.
		if key, ok := r.Secret(auth.Key{}, label); ok && a.holders[label][key] != "" {
			return a.holders[label][key], nil
		}
	}
	return "", nil
}

// free is a name that nobody has, the one asked for if it is.
func (a *adoption) free(name string) (string, error) {
	for n := a.last[name] + 1; ; n++ {
		a.last[name] = n
		try := name
		if n > 1 {
			suffix := fmt.Sprintf("-%d", n)
			try = name[:min(len(name), 64-len(suffix))] + suffix
		}
		if a.given[try] != nil {
			continue
		}
		_, _, err := a.h.Users.Get(try)
		switch {
		case errors.Is(err, auth.ErrNoUser):
			return try, nil
		case err != nil:
			return "", err
		}
	}
}

// place finds out where the users get their places, and refuses an import in
// which somebody's link would stop working.
func (a *adoption) place(i Import) error {
	if err := a.h.Users.Try(a.records...); err != nil {
		return err
	}
	if len(a.clashes) > 0 && !i.DryRun {
		const most = 3
		text := strings.Join(a.clashes[:min(most, len(a.clashes))], "; ")
		if n := len(a.clashes) - most; n > 0 {
			text += fmt.Sprintf("; and %d more", n)
		}
		return fmt.Errorf("nobody was imported, as a secret is found under one server name only: %s", text)
	}
	homeless := make(map[string]int)
	for n, r := range a.records {
		a.out[a.made[n]].Places = r.Places
		for label, at := range i.Users[a.made[n]].Places {
			if r.Places[label] != at {
				homeless[at]++
			}
		}
	}
	if err := a.nameless(i); err != nil {
		return err
	}
	if i.DryRun || len(homeless) == 0 {
		return nil
	}
	var names []string
	for _, at := range slices.Sorted(maps.Keys(homeless)) {
		names = append(names, fmt.Sprintf("%s for %d of the users", at, homeless[at]))
	}
	return fmt.Errorf("no place under %s: the relay does not know the name yet (relay reload), or it is full; nobody was imported", strings.Join(names, ", "))
}

// nameless says whom clients without a name would not find.
func (a *adoption) nameless(i Import) error {
	before, late := make(map[string]int), 0
	for n, r := range a.records {
		if r.Disabled {
			continue
		}
		for _, label := range a.h.Labels {
			if before[label] >= a.h.Users.RoomNameless(label) && slices.Contains(i.Users[a.made[n]].Nameless, label) {
				late++
			}
			before[label]++
		}
	}
	if late == 0 {
		return nil
	}
	return fmt.Errorf("%w: links without a server name are for the oldest users, as every one is tried, and there is no room for %d of these; disable or remove users, or split the file among relays", auth.ErrFull, late)
}
