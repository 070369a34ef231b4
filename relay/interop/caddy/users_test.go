package caddy

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"relay/auth"
	"relay/relay/site"
	"relay/transport"
	"relay/transport/web"
)

// users are those of the sites under test: alice, whose streams are echoed, and
// some who are not served.
type users struct {
	*auth.Users
	store    *auth.Store
	handler  *web.Handler
	streams  atomic.Int64
	password map[string]string
}

func newUsers(dir string) (*users, error) {
	store, err := auth.OpenStore(dir)
	if err != nil {
		return nil, err
	}
	u := &users{Users: auth.NewUsers(store, slog.New(slog.DiscardHandler)), store: store, password: make(map[string]string)}
	u.handler = web.New(web.Options{
		Find:   func(password string) (auth.User, bool) { return u.Find(web.Label, password) },
		Sink:   u,
		Server: site.Server,
	})
	return u, u.fill()
}

func (u *users) fill() error {
	if err := u.Index(web.Label); err != nil {
		return err
	}
	// Somebody who was removed has a password of the right form, and so has
	// somebody who never was.
	records := []*auth.Record{
		{Name: "alice"}, {Name: "disabled", Disabled: true}, {Name: "expired", Expires: time.Now().Add(-time.Hour)},
		{Name: "removed"}, {Name: "rotated"},
	}
	if err := u.Add(records...); err != nil {
		return err
	}
	for _, r := range records {
		u.password[r.Name] = r.Password(u.Realm(), web.Label)
	}
	if err := u.Remove("removed"); err != nil {
		return err
	}
	_, err := u.Update("rotated", func(r *auth.Record) error { r.Rotate(web.Label); return nil })
	return err
}

func (u *users) claims() (secure, origin []site.Claim) {
	return []site.Claim{u.handler.Claim}, []site.Claim{u.handler.ClaimOrigin(web.Origin{})}
}

// Stream implements transport.Sink.
func (u *users) Stream(_ context.Context, user auth.User, c transport.Conn) error {
	u.streams.Add(1)
	defer c.Close()
	if user.Name != "alice" {
		return errors.New("another user's")
	}
	b := make([]byte, 4<<10)
	for {
		n, err := c.Read(b)
		if n > 0 {
			_, err = c.Write(b[:n])
		}
		if err != nil {
			return c.CloseWrite()
		}
	}
}

func (u *users) close() {
	_ = u.Close()
	_ = u.store.Close()
}
