package admin

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"relay/auth"
	"relay/transport"
)

// fixture is a handler over a database of its own.
type fixture struct {
	users *auth.Users
	h     http.Handler
	b     Backend
}

func newFixture(t testing.TB, running bool) *fixture {
	t.Helper()
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{users: auth.NewUsers(store, slog.New(slog.DiscardHandler))}
	t.Cleanup(func() { _ = errors.Join(f.users.Close(), store.Close()) })
	f.b = Backend{
		Users: f.users, Labels: []string{"socks5", "http"},
		Links: func(r *auth.Record) []Link {
			return []Link{{Protocol: "socks5", URL: "socks5h://" + r.Name + ":" + r.Password(f.users.Realm(), "socks5") + "@h:1", QR: true}}
		},
	}
	if running {
		f.b.Status = func() Status { return Status{Version: "1", Live: 2, Ends: map[transport.Status]int64{transport.OK: 3}} }
		f.b.Reload = func() error { return nil }
		f.b.Metric = func(w io.Writer) error { WriteMetrics(w, f.b.Status(), false); return nil }
	}
	f.h = Handler(f.b)
	return f
}

// clients are the two ways to the handler: through a socket, and without.
func (f *fixture) clients(t *testing.T) map[string]*Client {
	t.Helper()
	dir := shortDir(t)
	ln, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(ln, f.h, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = s.Close() })
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*Client{"socket": c, "local": Local(f.h)}
}

// shortDir is a folder whose path leaves room for a socket, whatever TMPDIR is.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "relay-admin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func ptr[T any](v T) *T { return &v }

func TestEveryEndpoint(t *testing.T) {
	f := newFixture(t, true)
	for way, c := range f.clients(t) {
		t.Run(way, func(t *testing.T) {
			alice, bob := way+"-alice", way+"-bob"
			check := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: got %v, want none", what, err)
				}
			}
			added, err := c.Add(Add{Names: []string{alice, bob}, Limits: Limits{
				Expires: ptr("30d"), Quota: ptr("50GiB/month"), MaxConns: ptr(5), MaxIPs: ptr(2), Rate: ptr("20Mbit"),
			}})
			check("add", err)
			if len(added) != 2 || added[0].Name != alice || len(added[0].Links) != 1 {
				t.Fatalf("add: got %+v, want both with links", added)
			}
			shown, err := c.User(alice)
			check("show", err)
			if !reflect.DeepEqual(shown, added[0]) {
				// The expiry is kept to the second.
				added[0].Expires = ptr(added[0].Expires.Truncate(time.Second))
				if !reflect.DeepEqual(shown, added[0]) {
					t.Errorf("show: got %+v, want what add answered, %+v", shown, added[0])
				}
			}
			if shown.Quota != "50GiB/month" || shown.Rate != "20Mbit" || shown.MaxConns != 5 || shown.MaxIPs != 2 ||
				shown.State != "active" || time.Until(*shown.Expires) < 29*24*time.Hour {
				t.Errorf("show: got %+v, want the limits", shown)
			}
			users, err := c.Users()
			check("list", err)
			found := 0
			for _, u := range users {
				if u.Name == alice || u.Name == bob {
					found++
				}
			}
			if found != 2 {
				t.Errorf("list: got %+v, want both", users)
			}
			changed, err := c.Change(alice, Change{Disabled: ptr(true)})
			check("disable", err)
			if !changed.Disabled || changed.State != "disabled" || changed.Quota != shown.Quota {
				t.Errorf("disable: got %+v, want that and nothing else", changed)
			}
			changed, err = c.Change(alice, Change{Disabled: ptr(false), Rotate: []string{"socks5"}})
			check("rotate", err)
			if changed.Links[0].URL == shown.Links[0].URL || changed.State != "active" {
				t.Errorf("rotate: got %+v, want another link", changed)
			}
			changed, err = c.Change(alice, Change{Limits: Limits{
				Expires: ptr(""), Quota: ptr(""), MaxConns: ptr(0), MaxIPs: ptr(0), Rate: ptr(""), Explicit: map[string]string{"socks5": "imported"},
			}})
			check("change", err)
			if changed.Expires != nil || changed.Quota+changed.Rate != "" || changed.MaxConns+changed.MaxIPs != 0 ||
				changed.Links[0].URL != "socks5h://"+alice+":imported@h:1" {
				t.Errorf("change: got %+v, want no limits and the password", changed)
			}
			st, err := c.Status()
			check("status", err)
			if st.Live != 2 || st.Ends[transport.OK] != 3 {
				t.Errorf("status: got %+v, want the relay's", st)
			}
			check("reload", c.Reload())
			check("remove", c.Remove(alice))
			var ae *Error
			if _, err := c.User(alice); !errors.As(err, &ae) || !strings.Contains(err.Error(), alice) || ae.Usage {
				t.Errorf("removed: got %v, want no such user", err)
			}
			if err := c.Remove(alice); !errors.As(err, &ae) {
				t.Errorf("removed twice: got %v, want no such user", err)
			}
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	f := newFixture(t, true)
	f.b.Reload = func() error { return errors.New("line 3: bad") }
	f.h = Handler(f.b)
	if err := f.users.Add(&auth.Record{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	before, _ := Local(f.h).User("alice")
	add := func(names ...string) func(*Client) error {
		return func(c *Client) error { _, err := c.Add(Add{Names: names}); return err }
	}
	change := func(ch Change) func(*Client) error {
		return func(c *Client) error { _, err := c.Change("alice", ch); return err }
	}
	for way, c := range f.clients(t) {
		for _, tt := range []struct {
			name  string
			do    func(*Client) error
			text  string
			usage bool
		}{
			{"no names", add(), "at least one", true},
			{"taken", add("bob", "alice"), "user exists: alice", false},
			{"twice", add("bob", "bob"), "user exists", false},
			{"bad name", add("bob", "../x"), "a user name is", true},
			{"bad quota", change(Change{Limits: Limits{Quota: ptr("50")}}), "50GiB/month", true},
			{"bad rate", change(Change{Limits: Limits{Rate: ptr("fast")}}), "20Mbit", true},
			{"bad expiry", change(Change{Limits: Limits{Expires: ptr("yesterday")}}), "30d", true},
			{"negative", change(Change{Limits: Limits{MaxConns: ptr(-1)}}), "negative", true},
			{"no such label", change(Change{Rotate: []string{"gopher"}}), `"gopher"`, true},
			{"no such label to set", change(Change{Limits: Limits{Explicit: map[string]string{"x": "y"}}}), `"x"`, true},
			{"bad password", change(Change{Limits: Limits{Explicit: map[string]string{"http": "a\nb"}}}), "control", true},
			{"two passwords", func(c *Client) error {
				_, err := c.Add(Add{Names: []string{"b", "c"}, Limits: Limits{Explicit: map[string]string{"http": "p"}}})
				return err
			}, "one user at a time", true},
			{"one good, one bad", change(Change{Disabled: ptr(true), Limits: Limits{Quota: ptr("x")}}), "x", true},
			{"unknown user", func(c *Client) error { return c.Remove("mallory") }, "mallory", false},
			{"name of a folder", func(c *Client) error { return c.Remove("..") }, "a user name is", true},
			{"name with a slash", func(c *Client) error { _, err := c.User("a/b"); return err }, "a user name is", true},
			{"empty name", func(c *Client) error { _, err := c.Change("", Change{}); return err }, "a user name is", true},
			{"reload", func(c *Client) error { return c.Reload() }, "line 3: bad", false},
		} {
			var ae *Error
			if err := tt.do(c); !errors.As(err, &ae) || !strings.Contains(ae.Text, tt.text) || ae.Usage != tt.usage {
				t.Errorf("%s, %s: got %#v, want %q, usage %t", way, tt.name, err, tt.text, tt.usage)
			}
		}
		if us, err := c.Users(); err != nil || len(us) != 1 {
			t.Errorf("%s: got %v, %v, want alice alone", way, us, err)
		}
		if after, err := c.User("alice"); err != nil || !reflect.DeepEqual(after, before) {
			t.Errorf("%s: got %+v, %v, want %+v", way, after, err, before)
		}
	}
}

func TestNotRunning(t *testing.T) {
	c := Local(newFixture(t, false).h)
	if _, err := c.Status(); err == nil || !strings.Contains(err.Error(), "relay serve") {
		t.Errorf("status: got %v, want advice", err)
	}
	if err := c.Reload(); err == nil || !strings.Contains(err.Error(), "relay serve") {
		t.Errorf("reload: got %v, want advice", err)
	}
	if us, err := c.Users(); err != nil || us == nil || len(us) != 0 {
		t.Errorf("users: got %v, %v, want an empty list", us, err)
	}
}

func TestStates(t *testing.T) {
	f := newFixture(t, false)
	now := time.Date(2030, 5, 5, 0, 0, 0, 0, time.UTC)
	h := &handler{Backend: f.b}
	h.Now = func() time.Time { return now }
	day := int32(now.Unix() / 86400)
	for _, tt := range []struct {
		name  string
		r     auth.Record
		used  int64
		state string
	}{
		{"plain", auth.Record{}, 5, "active"},
		{"expires later", auth.Record{Expires: now.Add(1)}, 0, "active"},
		{"expires now", auth.Record{Expires: now}, 0, "expired"},
		{"below quota", auth.Record{Quota: auth.Quota{Bytes: 6}}, 5, "active"},
		{"at quota", auth.Record{Quota: auth.Quota{Bytes: 5}}, 5, "over quota"},
		{"all of it", auth.Record{Disabled: true, Expires: now, Quota: auth.Quota{Bytes: 5}}, 5, "disabled"},
	} {
		got := h.user(&tt.r, auth.Usage{Up: 1, Down: 4, Days: map[int32]int64{day: tt.used, day - 40: 100}})
		if got.State != tt.state || got.Used != tt.used || got.Bytes != (Bytes{1, 4}) {
			t.Errorf("%s: got %+v, want %q and %d used", tt.name, got, tt.state, tt.used)
		}
	}
}

func TestSecretsOnlyInLinks(t *testing.T) {
	f := newFixture(t, true)
	c := Local(f.h)
	if _, err := c.Add(Add{Names: []string{"alice"}, Limits: Limits{Explicit: map[string]string{"http": "hunter2"}}}); err != nil {
		t.Fatal(err)
	}
	r, _, err := f.users.Get("alice")
	if err != nil {
		t.Fatal(err)
	}
	derived := r.Password(f.users.Realm(), "socks5")
	for _, tt := range []struct {
		method, path, body string
		links              bool
	}{
		{"GET", "/v1/users", "", false}, {"GET", "/v1/status", "", false}, {"GET", "/metrics", "", false},
		{"GET", "/v1/users/alice", "", true}, {"PATCH", "/v1/users/alice", `{"disabled":false}`, true},
		{"POST", "/v1/users", `{"names":["alice"]}`, false},
		{"PATCH", "/v1/users/alice", `{"explicit":{"http":"hunter2\n"}}`, false},
	} {
		_, body := raw(t, f.h, tt.method, tt.path, tt.body)
		if strings.Contains(body, "hunter2") {
			t.Errorf("%s %s: got %q, want no password of a label without a link", tt.method, tt.path, body)
		}
		if got := strings.Contains(body, derived); got != tt.links {
			t.Errorf("%s %s: got %q, want a password %t", tt.method, tt.path, body, tt.links)
		}
		if strings.Contains(strings.ReplaceAll(body, "socks5h://alice:"+derived, ""), derived) {
			t.Errorf("%s %s: got %q, want the password in the link alone", tt.method, tt.path, body)
		}
	}
}

// raw is a request without the Client.
func raw(t testing.TB, h http.Handler, method, path, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://relay"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := localTransport{h}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestBodies(t *testing.T) {
	f := newFixture(t, false)
	for _, tt := range []struct {
		name, body string
		code       int
		text       string
	}{
		{"unknown field", `{"names":["a"],"admin":true}`, 400, "admin"},
		{"unknown field deeper", `{"names":["a"],"explicit":[1]}`, 400, "explicit"},
		{"empty", ``, 400, "empty"},
		{"text", `hello`, 400, "invalid"},
		{"two values", `{"names":["a"]} {"names":["b"]}`, 400, "more than one"},
		{"rubbish behind", `{"names":["a"]}]`, 400, "more than one"},
		{"cut short", `{"names":["a"`, 400, "unexpected"},
		{"wrong type", `{"names":"a"}`, 400, "names"},
		{"9 MB", `{"names":["` + strings.Repeat("a", 9<<20) + `"]}`, 413, "more than"},
		{"9 MB of space behind", `{"names":["a"]}` + strings.Repeat(" ", 9<<20), 413, "more than"},
		{"a deep one", `{"names":` + strings.Repeat("[", 100_000), 400, ""},
		{"null", `null`, 400, "at least one"},
	} {
		code, body := raw(t, f.h, "POST", "/v1/users", tt.body)
		if code != tt.code || !strings.Contains(body, tt.text) || len(body) > 1000 {
			t.Errorf("%s: got %d %.1000s, want %d and %q", tt.name, code, body, tt.code, tt.text)
		}
	}
	if us, err := Local(f.h).Users(); err != nil || len(us) != 0 {
		t.Errorf("got %v, %v, want nobody added", us, err)
	}
	for _, tt := range []struct {
		method, path string
		code         int
	}{{"POST", "/v1/status", 405}, {"GET", "/", 404}, {"PUT", "/v1/users/alice", 405}, {"GET", "/v1/users/", 404}} {
		if code, _ := raw(t, f.h, tt.method, tt.path, ""); code != tt.code {
			t.Errorf("%s %s: got %d, want %d", tt.method, tt.path, code, tt.code)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	f := newFixture(t, false)
	c := Local(f.h)
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("user-%d", i))
	}
	us, err := c.Add(Add{Names: names})
	if err != nil || len(us) != len(names) {
		t.Fatalf("got %d users, %v, want %d", len(us), err, len(names))
	}
	list, err := c.Users()
	if err != nil || len(list) != len(names) {
		t.Errorf("got %d users, %v, want %d", len(list), err, len(names))
	}
}

func FuzzRequestBody(f *testing.F) {
	for _, s := range []string{
		`{"names":["a","b"],"quota":"50GiB/month","expires":"30d","max_conns":1,"max_ips":2,"rate":"1Mbit"}`,
		`{"explicit":{"http":"p"},"disabled":true,"rotate":["socks5"]}`, `{"names":null}`, `{"rotate":["x"]}`, `{}`, ``, `[`, `{"max_conns":-1}`,
	} {
		f.Add("POST", s)
		f.Add("PATCH", s)
	}
	fx := newFixture(f, false)
	if err := fx.users.Add(&auth.Record{Name: "alice"}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, body string) {
		path := "/v1/users/alice"
		if method != "PATCH" {
			method, path = "POST", "/v1/users"
		}
		code, answer := raw(t, fx.h, method, path, body)
		switch code {
		case 200, 400, 409, 413:
		default:
			t.Errorf("got %d %s, want 200, 400, 409 or 413", code, answer)
		}
		if !strings.HasPrefix(answer, "{") && !strings.HasPrefix(answer, "[") {
			t.Errorf("got %q, want JSON", answer)
		}
		r, _, err := fx.users.Get("alice")
		if err != nil || r.MaxConns < 0 || r.MaxIPs < 0 || r.Rate < 0 || r.Quota.Bytes < 0 {
			t.Errorf("got %+v, %v, want a sane record", r, err)
		}
	})
}
