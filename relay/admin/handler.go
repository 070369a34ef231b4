package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/auth"
)

// Backend is what the handler works on.
type Backend struct {
	Users  *auth.Users
	Labels []string                  // the auth labels in use
	Links  func(*auth.Record) []Link // a user's links
	// Warnings say which links of a user are not there or will change; nil: none.
	Warnings func(*auth.Record) []string
	// Passwords read those from elsewhere, for labels whose clients give no user name:
	// no two users have the same. A place that is not empty is the only one under
	// which clients with that password are found.
	Passwords map[string]func(text string) (password, place string, err error)

	Status func() Status           // nil: no relay is running
	Reload func() error            // nil: no relay is running
	Metric func(w io.Writer) error // Prometheus text; nil: no relay is running
	Now    func() time.Time        // nil: time.Now
}

// maxBody bounds a request: a hundred thousand names at once fit.
const maxBody = 8 << 20

// Handler returns the control API over b.
func Handler(b Backend) http.Handler {
	if b.Now == nil {
		b.Now = time.Now
	}
	h := &handler{Backend: b}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", h.status)
	mux.HandleFunc("GET /metrics", h.metrics)
	mux.HandleFunc("POST /v1/reload", h.reload)
	mux.HandleFunc("GET /v1/users", h.list)
	mux.HandleFunc("POST /v1/users", h.add)
	mux.HandleFunc("POST /v1/import", h.adopt)
	mux.HandleFunc("GET /v1/users/{name}", h.show)
	mux.HandleFunc("PATCH /v1/users/{name}", h.change)
	mux.HandleFunc("DELETE /v1/users/{name}", h.remove)
	return http.MaxBytesHandler(mux, maxBody)
}

type handler struct {
	Backend
	giving sync.Mutex // of passwords from elsewhere: one at a time, or two users could get the same
}

var errNotRunning = errors.New("no relay is running on this state folder; start it with: relay serve --config FILE")

func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	if h.Status == nil {
		fail(w, http.StatusServiceUnavailable, errNotRunning)
		return
	}
	reply(w, h.Status())
}

func (h *handler) metrics(w http.ResponseWriter, _ *http.Request) {
	if h.Metric == nil {
		fail(w, http.StatusServiceUnavailable, errNotRunning)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = h.Metric(w)
}

func (h *handler) reload(w http.ResponseWriter, _ *http.Request) {
	if h.Backend.Reload == nil {
		fail(w, http.StatusServiceUnavailable, errNotRunning)
		return
	}
	if err := h.Backend.Reload(); err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	reply(w, struct{}{})
}

func (h *handler) list(w http.ResponseWriter, _ *http.Request) {
	out := []User{}
	err := h.Users.Each(func(r *auth.Record) bool {
		_, usage, err := h.Users.Get(r.Name)
		if err == nil {
			out = append(out, h.user(r, usage))
		}
		return true
	})
	if err != nil {
		failFor(w, err)
		return
	}
	reply(w, out)
}

func (h *handler) show(w http.ResponseWriter, q *http.Request) {
	h.answer(w, q.PathValue("name"), false)
}

// answer replies with a user and the links.
func (h *handler) answer(w http.ResponseWriter, name string, moved bool) {
	r, usage, err := h.Users.Get(name)
	if err != nil {
		failFor(w, named(err, name))
		return
	}
	u := h.withLinks(r, usage)
	u.Moved = moved
	reply(w, u)
}

func (h *handler) withLinks(r *auth.Record, usage auth.Usage) UserLinks {
	u := UserLinks{User: h.user(r, usage), Links: h.Links(r)}
	if h.Warnings != nil {
		u.Warnings = h.Warnings(r)
	}
	return u
}

func (h *handler) add(w http.ResponseWriter, q *http.Request) {
	var a Add
	if !read(w, q, &a) {
		return
	}
	if len(a.Names) == 0 {
		fail(w, http.StatusBadRequest, errors.New("give at least one name"))
		return
	}
	if len(a.Explicit) > 0 && len(a.Names) > 1 {
		fail(w, http.StatusBadRequest, errors.New("a password can be set for one user at a time"))
		return
	}
	done, ok := h.give(w, a.Names[0], a.Explicit)
	if !ok {
		return
	}
	defer done()
	rs := make([]*auth.Record, len(a.Names))
	for i, n := range a.Names {
		rs[i] = &auth.Record{Name: n, Created: h.Now()}
		if err := h.apply(rs[i], a.Limits); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
	}
	err := h.tryPlaces(rs[0])
	if err == nil {
		err = h.Users.Add(rs...)
	}
	if err != nil {
		if errors.Is(err, auth.ErrUserExists) {
			err = fmt.Errorf("%w; nobody was made; see: relay user list", err)
		}
		failFor(w, err)
		return
	}
	out := make([]UserLinks, len(rs))
	for i, r := range rs {
		out[i] = h.withLinks(r, auth.Usage{})
	}
	reply(w, out)
}

func (h *handler) change(w http.ResponseWriter, q *http.Request) {
	var c Change
	if !read(w, q, &c) {
		return
	}
	name := q.PathValue("name")
	done, ok := h.give(w, name, c.Explicit)
	if !ok {
		return
	}
	defer done()
	var bad error
	var before map[string]string
	r, err := h.Users.Update(name, func(r *auth.Record) error {
		before = r.Places
		bad = h.changeRecord(r, c)
		return bad
	})
	if bad != nil {
		fail(w, http.StatusBadRequest, bad)
		return
	}
	if err != nil {
		failFor(w, named(err, name))
		return
	}
	moved := false
	for _, label := range h.Labels {
		at := before[label]
		moved = moved || at != "" && r.Places[label] != at && c.Explicit[label] == "" // or it was asked for
	}
	h.answer(w, name, moved)
}

func (h *handler) changeRecord(r *auth.Record, c Change) error {
	if err := h.labels(c.Rotate); err != nil {
		return err
	}
	if len(c.Rotate) > 0 {
		r.Rotate(c.Rotate...)
	}
	if c.Disabled != nil {
		r.Disabled = *c.Disabled
	}
	return h.apply(r, c.Limits)
}

func (h *handler) labels(ls []string) error {
	for _, l := range ls {
		if !slices.Contains(h.Labels, l) {
			return fmt.Errorf("there is no protocol %q here; there is: %s", l, strings.Join(h.Labels, ", "))
		}
	}
	return nil
}

// apply sets what l holds.
func (h *handler) apply(r *auth.Record, l Limits) error {
	if l.Expires != nil {
		r.Expires = time.Time{}
		if *l.Expires != "" {
			t, err := auth.ParseExpiry(*l.Expires, h.Now())
			if err != nil {
				return err
			}
			r.Expires = t
		}
	}
	if l.Quota != nil {
		if err := r.Quota.UnmarshalText([]byte(*l.Quota)); err != nil {
			return err
		}
	}
	if l.Rate != nil {
		r.Rate = 0
		if *l.Rate != "" {
			if err := r.Rate.UnmarshalText([]byte(*l.Rate)); err != nil {
				return err
			}
		}
	}
	for _, n := range []struct {
		from *int
		to   *int
		what string
	}{{l.MaxConns, &r.MaxConns, "connections"}, {l.MaxIPs, &r.MaxIPs, "addresses"}} {
		if n.from == nil {
			continue
		}
		if *n.from < 0 {
			return fmt.Errorf("the number of %s cannot be negative", n.what)
		}
		*n.to = *n.from
	}
	return h.explicit(r, l.Explicit)
}

func (h *handler) remove(w http.ResponseWriter, q *http.Request) {
	name := q.PathValue("name")
	if err := h.Users.Remove(name); err != nil {
		failFor(w, named(err, name))
		return
	}
	reply(w, struct{}{})
}

func (h *handler) user(r *auth.Record, usage auth.Usage) User {
	now := h.Now()
	u := User{
		Name: r.Name, Created: r.Created, Disabled: r.Disabled, State: "active",
		Quota: r.Quota.String(), Used: usage.In(r.Quota, now, true), MaxConns: r.MaxConns,
		MaxIPs: r.MaxIPs, Bytes: Bytes{usage.Up, usage.Down},
	}
	if r.Rate > 0 {
		u.Rate = r.Rate.String()
	}
	if !r.Expires.IsZero() {
		u.Expires = &r.Expires
	}
	switch {
	case r.Disabled:
		u.State = "disabled"
	case u.Expires != nil && !now.Before(r.Expires):
		u.State = "expired"
	case r.Quota.Bytes > 0 && u.Used >= int64(r.Quota.Bytes):
		u.State = "over quota"
	}
	return u
}

func named(err error, name string) error {
	if errors.Is(err, auth.ErrNoUser) {
		return fmt.Errorf("%w: %q; see: relay user list", auth.ErrNoUser, name)
	}
	return err
}

// read takes one JSON value and nothing after it.
func read(w http.ResponseWriter, q *http.Request, into any) bool {
	d := json.NewDecoder(q.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = cmp.Or(tooLarge(more), errors.New("more than one value"))
		}
	}
	switch {
	case err == nil:
		return true
	case tooLarge(err) != nil:
		fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("request: more than %d bytes", maxBody))
	case errors.Is(err, io.EOF):
		fail(w, http.StatusBadRequest, errors.New("request: the body is empty"))
	default:
		fail(w, http.StatusBadRequest, fmt.Errorf("request: %w", err))
	}
	return false
}

func tooLarge(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return nil
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func failFor(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, auth.ErrNoUser):
		code = http.StatusNotFound
	case errors.Is(err, auth.ErrUserExists), errors.Is(err, auth.ErrFull), errors.Is(err, auth.ErrNoPlace):
		code = http.StatusConflict
	case errors.Is(err, auth.ErrName):
		code = http.StatusBadRequest
	}
	fail(w, code, err)
}

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(failure{Error: err.Error(), Usage: code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge})
}
