package admin

import (
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
	a := adoption{h: h, holders: make(map[string]map[[auth.SecretSize]byte]string), names: make(map[string]bool)}
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
	names   map[string]bool                             // given in this import
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
		o := Imported{Name: u.Name, As: holder, Known: true}
		if known, _, err := a.h.Users.Get(holder); err == nil {
			o.Places = known.Places
		}
		a.out = append(a.out, o)
		return nil
	}
	if r.Name, err = a.free(u.Name); err != nil {
		return err
	}
	a.names[r.Name] = true
	for label := range r.Explicit {
		if key, ok := r.Secret(auth.Key{}, label); ok {
			a.holders[label][key] = r.Name
		}
	}
	a.records, a.made = append(a.records, r), append(a.made, len(a.out))
	a.out = append(a.out, Imported{Name: u.Name, As: r.Name})
	return nil
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
	for n := 1; ; n++ {
		try := name
		if n > 1 {
			suffix := fmt.Sprintf("-%d", n)
			try = name[:min(len(name), 64-len(suffix))] + suffix
		}
		if a.names[try] {
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
	homeless := make(map[string]int)
	for n, r := range a.records {
		a.out[a.made[n]].Places = r.Places
		for label, at := range i.Users[a.made[n]].Places {
			if r.Places[label] != at {
				homeless[at]++
			}
		}
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
