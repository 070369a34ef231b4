package admin

import (
	"errors"
	"fmt"
	"net/http"

	"relay/auth"
)

// explicit sets passwords from elsewhere.
func (h *handler) explicit(r *auth.Record, passwords map[string]string) error {
	for label, p := range passwords {
		if err := h.labels([]string{label}); err != nil {
			return err
		}
		if err := auth.CheckExplicit(p); err != nil {
			return err
		}
		if from := h.Passwords[label]; from != nil {
			var at string
			var err error
			if p, at, err = from(p); err != nil {
				return err
			}
			if at != "" && !h.Users.Knows(label, at) {
				return fmt.Errorf("%w: %q", auth.ErrNoPlace, at)
			}
			if at != "" {
				r.SetPlace(label, at)
			}
		}
		r.SetExplicit(label, p)
	}
	return nil
}

// give has passwords from elsewhere given to one user, until done is called, or
// answers why not.
func (h *handler) give(w http.ResponseWriter, name string, passwords map[string]string) (done func(), ok bool) {
	if len(passwords) == 0 {
		return func() {}, true
	}
	h.giving.Lock()
	r := &auth.Record{Name: name}
	if err := h.explicit(r, passwords); err != nil {
		h.giving.Unlock()
		if errors.Is(err, auth.ErrNoPlace) {
			failFor(w, err)
		} else {
			fail(w, http.StatusBadRequest, err)
		}
		return nil, false
	}
	for label := range passwords {
		if h.Passwords[label] == nil {
			continue
		}
		switch twin, err := h.Users.Twin(r, label); {
		case err != nil:
			h.giving.Unlock()
			failFor(w, err)
			return nil, false
		case twin != "":
			h.giving.Unlock()
			fail(w, http.StatusConflict, fmt.Errorf("%s has this password for %s already, and it is all that tells users apart there: give each one of their own", twin, label))
			return nil, false
		}
	}
	return h.giving.Unlock, true
}

// tryPlaces reports whether a new user would get the places that the passwords ask for.
func (h *handler) tryPlaces(r *auth.Record) error {
	asked := r.Places
	if len(asked) == 0 {
		return nil
	}
	if err := h.Users.Try(r); err != nil {
		return err
	}
	for label, at := range asked {
		if r.Places[label] != at {
			return fmt.Errorf("%w: %q", auth.ErrNoPlace, at)
		}
	}
	return nil
}
