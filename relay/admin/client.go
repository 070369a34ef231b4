package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"relay/auth"
)

// Client asks a control socket, or a handler in this process.
type Client struct{ http *http.Client }

// Local returns a Client of h, without a socket.
func Local(h http.Handler) *Client {
	return &Client{http: &http.Client{Transport: localTransport{h}}}
}

// Error is what the handler answered instead of a result. Usage says that the
// request was at fault, and Conflict that the users who are there are in its way.
type Error struct {
	Text            string
	Usage, Conflict bool
}

// Error is the text.
func (e *Error) Error() string { return e.Text }

// Status asks for the state of the relay.
func (c *Client) Status() (Status, error) {
	var s Status
	return s, c.do(http.MethodGet, "/v1/status", nil, &s)
}

// Reload makes the relay read its configuration again.
func (c *Client) Reload() error { return c.do(http.MethodPost, "/v1/reload", nil, nil) }

// Users lists all users.
func (c *Client) Users() ([]User, error) {
	var out []User
	return out, c.do(http.MethodGet, "/v1/users", nil, &out)
}

// User asks for one user with links.
func (c *Client) User(name string) (UserLinks, error) {
	var u UserLinks
	return u, c.doUser(http.MethodGet, name, nil, &u)
}

// Add makes users.
func (c *Client) Add(a Add) ([]UserLinks, error) {
	var out []UserLinks
	return out, c.do(http.MethodPost, "/v1/users", a, &out)
}

// Import makes users with secrets from elsewhere.
func (c *Client) Import(i Import) ([]Imported, error) {
	var out []Imported
	return out, c.do(http.MethodPost, "/v1/import", i, &out)
}

// Change changes a user.
func (c *Client) Change(name string, ch Change) (UserLinks, error) {
	var u UserLinks
	return u, c.doUser(http.MethodPatch, name, ch, &u)
}

// Remove forgets a user.
func (c *Client) Remove(name string) error {
	return c.doUser(http.MethodDelete, name, nil, nil)
}

// doUser is do for the path of a user. What cannot be a name never becomes
// one: the path of ".." would be somebody else's.
func (c *Client) doUser(method, name string, body, into any) error {
	if err := auth.CheckName(name); err != nil {
		return &Error{Text: fmt.Sprintf("%q: %v", name, err), Usage: true}
	}
	return c.do(method, "/v1/users/"+name, body, into)
}

func (c *Client) do(method, path string, body, into any) error {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://relay"+path, r)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return fmt.Errorf("control socket: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var f failure
		if err := json.NewDecoder(resp.Body).Decode(&f); err != nil || f.Error == "" {
			return fmt.Errorf("control socket: %s", resp.Status)
		}
		return &Error{Text: f.Error, Usage: f.Usage, Conflict: resp.StatusCode == http.StatusConflict}
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// localTransport answers requests by calling a handler.
type localTransport struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (t localTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &response{code: http.StatusOK, header: make(http.Header)}
	t.h.ServeHTTP(w, r)
	return &http.Response{
		Status: http.StatusText(w.code), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// response keeps what a handler writes.
type response struct {
	code   int
	header http.Header
	body   bytes.Buffer
}

func (w *response) Header() http.Header         { return w.header }
func (w *response) WriteHeader(code int)        { w.code = code }
func (w *response) Write(b []byte) (int, error) { return w.body.Write(b) }
