package httpconnect

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/transport"
)

var _ relay.Inbound = (*Inbound)(nil)

// verify knows alice, whose password is s3cret, and nobody, whose is empty.
func verify(_ context.Context, _ netip.Addr, name, password string) (auth.User, error) {
	switch {
	case name == "alice" && password == "s3cret":
		return auth.User{ID: 1, Name: "alice"}, nil
	case name == "nobody" && password == "":
		return auth.User{ID: 2, Name: "nobody"}, nil
	}
	return auth.User{}, auth.ErrCredentials
}

// alice is her credential in base64.
const alice = "YWxpY2U6czNjcmV0"

func opener(anonymous bool) func() relaytest.Opener {
	return func() relaytest.Opener {
		in := &Inbound{Verify: verify, Anonymous: anonymous, Options: Options{Forward: true}}
		return relaytest.Opener{Match: func(b []byte) int { return int(in.Match(b)) }, Open: in.Open}
	}
}

// response is a whole refusal.
func response(status int, text string, header ...string) string {
	var h strings.Builder
	for _, f := range header {
		h.WriteString(f + "\r\n")
	}
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n",
		status, http.StatusText(status), h.String(), len(text)+1, text)
}

var (
	ended       = response(403, "Your access to this proxy has ended.")
	tooMany     = response(429, "You have too many connections or devices on this proxy.")
	unreachable = response(502, "The target cannot be reached.")
	notAProxy   = response(400, "This is not a request to a proxy.")
	notServed   = response(400, "This proxy takes CONNECT host:port and http:// requests.")
	tooLarge    = response(431, "The request header is longer than 16 KiB or has more than 128 fields.")
	needsAuth   = response(407, "This proxy needs the user name and password of your link.", `Proxy-Authenticate: Basic realm="proxy", charset="UTF-8"`)
)

// denials are the answers for every reason that the flow can give.
var denials = []relaytest.Denial{
	{Reason: policy.ErrDenied, Reply: response(403, "This proxy does not connect to that place.")},
	{Reason: &policy.DeniedError{Reason: "own listener"}, Reply: response(403, "This proxy does not connect to that place.")},
	{Reason: auth.ErrQuota, Reply: response(403, "You have used up your quota on this proxy.")},
	{Reason: auth.ErrTooManyConns, Reply: tooMany},
	{Reason: auth.ErrTooManyIPs, Reply: tooMany},
	{Reason: auth.ErrDisabled, Reply: ended},
	{Reason: auth.ErrExpired, Reply: ended},
	{Reason: auth.ErrRemoved, Reply: ended},
	{Reason: auth.ErrRotated, Reply: ended},
	{Reason: auth.ErrNoUser, Reply: ended},
	{Reason: policy.ErrTimeout, Reply: response(504, "The target did not answer in time.")},
	{Reason: policy.ErrNotFound, Reply: response(502, "The name of the target does not exist.")},
	{Reason: policy.ErrResolve, Reply: unreachable},
	{Reason: policy.ErrRefused, Reply: unreachable},
	{Reason: policy.ErrNetUnreachable, Reply: unreachable},
	{Reason: policy.ErrHostUnreachable, Reply: unreachable},
	{Reason: auth.ErrCredentials, Reply: unreachable},
	{Reason: context.Canceled, Reply: unreachable},
	{Reason: errors.New("something else"), Reply: unreachable},
}

// What clients send was recorded from curl 7.88.1 and net/http; tdlib's request
// is as specs/messengers.md, section 2, has it, and so is the POST of Telegram
// Desktop.
func TestConformance(t *testing.T) {
	const get = "GET http://www.example.org/a?b=1 HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nProxy-Connection: Keep-Alive\r\n\r\n"
	claims := []string{"http", "http2"}
	t.Run("anonymous", func(t *testing.T) {
		relaytest.Inbound(t, opener(true), relaytest.Samples{Denials: denials, Claims: claims, Openings: []relaytest.Opening{
			{Name: "net/http", Bytes: "CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\nUser-Agent: Go-http-client/1.1\r\n\r\n", Target: "www.example.org:443", Reply: established},
			{Name: "tdlib IPv6", Bytes: "CONNECT [2001:67c:4e8:f002::a]:443 HTTP/1.1\r\nHost: [2001:67c:4e8:f002::a]:443\r\n\r\n", Target: "[2001:67c:4e8:f002::a]:443", Reply: established},
			{Name: "HTTP/1.0", Bytes: "CONNECT www.example.org:443 HTTP/1.0\r\n\r\n", Target: "www.example.org:443", Reply: established},
			{
				Name: "curl", Bytes: get, Target: "www.example.org:80", Framed: true,
				Up: "GET /a?b=1 HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\nUser-Agent: curl/7.88.1\r\nConnection: close\r\n\r\n",
			},
		}})
	})
	t.Run("password", func(t *testing.T) {
		relaytest.Inbound(t, opener(false), relaytest.Samples{Denials: denials, Claims: claims, Secret: alice, Openings: []relaytest.Opening{
			{
				Name: "curl", User: "alice", Target: "www.example.org:80", Reply: established,
				Bytes: "CONNECT www.example.org:80 HTTP/1.1\r\nHost: www.example.org:80\r\nProxy-Authorization: Basic " + alice + "\r\nUser-Agent: curl/7.88.1\r\nProxy-Connection: Keep-Alive\r\n\r\n",
			},
			{
				Name: "Telegram Desktop", User: "alice", Target: "149.154.167.51:80", Framed: true, Payload: "0123456789",
				Bytes: "POST http://149.154.167.51:80/api HTTP/1.1\r\nHost: 149.154.167.51:80\r\nProxy-Authorization: Basic " + alice + "\r\nContent-Length: 10\r\nConnection: Keep-Alive\r\n\r\n",
				Up:    "POST /api HTTP/1.1\r\nHost: 149.154.167.51:80\r\nContent-Length: 10\r\nConnection: close\r\n\r\n",
			},
			{
				Name: "curl chunked", User: "alice", Target: "www.example.org:80", Framed: true, Payload: "5\r\nhello\r\n0\r\n\r\n",
				Bytes: "PUT http://www.example.org/a HTTP/1.1\r\nHost: www.example.org\r\nProxy-Authorization: Basic " + alice + "\r\nAccept: */*\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
				Up:    "PUT /a HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
			},
		}})
	})
}

// written notes the writes of the inbound.
type written struct {
	transport.Conn
	writes []string
}

// Write implements transport.Conn.
func (w *written) Write(b []byte) (int, error) {
	w.writes = append(w.writes, string(b))
	return w.Conn.Write(b)
}

// outcome is what became of an opening.
type outcome struct {
	req    transport.Request
	err    error
	writes []string
	unread string
}

// open lets in read what a client says before it ends its direction.
func open(t *testing.T, in *Inbound, said string) outcome {
	t.Helper()
	client, server := relaytest.Pipe()
	defer client.Close()
	defer server.Close()
	if _, err := client.Write([]byte(said)); err != nil {
		t.Fatal(err)
	}
	_ = client.CloseWrite()
	w := &written{Conn: server}
	p := transport.NewPeeked(w)
	var o outcome
	o.req, o.err = in.Open(context.Background(), auth.User{}, p)
	o.writes, o.unread = w.writes, string(p.Unread())
	return o
}

func anonymous() *Inbound {
	return &Inbound{Verify: verify, Anonymous: true, Options: Options{Forward: true}}
}

// refused checks that an opening was answered with want, in one write, and that
// the error has a status word and no part of the request in it.
func (o outcome) refused(t *testing.T, want string, sentinel error) {
	t.Helper()
	if o.req != nil || !errors.Is(o.err, sentinel) {
		t.Errorf("Open: got %v, %v, want nil, %v", o.req, o.err, sentinel)
	}
	if len(o.writes) != 1 || o.writes[0] != want {
		t.Errorf("writes: got %q, want one of %q", o.writes, want)
	}
	for _, leak := range []string{"example", alice, "s3cret", "alice", "evil", "X-"} {
		if o.err != nil && strings.Contains(o.err.Error(), leak) {
			t.Errorf("error: got %q, want nothing of the request in it", o.err)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"CONNECT", "CONNECT www.example.org:443", "www.example.org:443"},
		{"CONNECT in capitals", "CONNECT WWW.EXAMPLE.ORG.:443", "www.example.org:443"},
		{"CONNECT IPv6", "CONNECT [2001:db8::1]:443", "[2001:db8::1]:443"},
		{"CONNECT mapped IPv6", "CONNECT [::ffff:10.0.0.1]:443", "10.0.0.1:443"},
		{"GET without a port", "GET http://www.example.org/", "www.example.org:80"},
		{"GET with an empty port", "GET http://www.example.org:/", "www.example.org:80"},
		{"GET with a port", "GET http://www.example.org:8080/", "www.example.org:8080"},
		{"GET without a path", "GET http://www.example.org", "www.example.org:80"},
		{"GET with a query only", "GET http://www.example.org?a", "www.example.org:80"},
		{"GET IPv6", "GET http://[2001:db8::1]/", "[2001:db8::1]:80"},
		{"GET IPv6 with a port", "GET http://[2001:db8::1]:81/", "[2001:db8::1]:81"},
		{"scheme in capitals", "GET HTTP://www.example.org/", "www.example.org:80"},
		{"another method", "PROPFIND http://www.example.org/", "www.example.org:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := open(t, anonymous(), tt.line+" HTTP/1.1\r\nHost: other.example\r\n\r\n")
			if o.err != nil {
				t.Fatalf("Open: got %v, want nil", o.err)
			}
			if got := o.req.Target().String(); got != tt.want {
				t.Errorf("target: got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRefusedTargets(t *testing.T) {
	for _, line := range []string{
		"CONNECT www.example.org", "CONNECT www.example.org:", "CONNECT www.example.org:0", "CONNECT www.example.org:65536",
		"CONNECT :443", "CONNECT 2001:db8::1:443", "CONNECT [fe80::1%25eth0]:443", "CONNECT /evil", "CONNECT 127.1:80", "CONNECT *",
		"GET /", "GET *", "GET https://www.example.org/", "GET ftp://www.example.org/", "GET http:///evil", "GET http:/evil", "GET http:evil",
		"GET http://alice@www.example.org/", "GET http://alice:s3cret@www.example.org/", "GET http://:0/", "GET http://www.example.org:0/",
		"GET http://www.example.org:http/", "GET http://www.example.org#evil/", "GET http://www.example.org%0d%0aX-Evil:1/",
		"GET http://www.example.org\\@evil.example/", "GET http://0x7f.1/", "GET http://[::1%25evil]/", "GET http://[::1]evil/", "GET http://evil]/",
		"GET example.org", "PRI *", "OPTIONS *",
	} {
		t.Run(line, func(t *testing.T) {
			o := open(t, anonymous(), line+" HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
			want := notServed
			if len(o.writes) == 1 && o.writes[0] == notAProxy {
				want = notAProxy // net/http refused it first
			}
			o.refused(t, want, relay.ErrBadRequest)
		})
	}
	t.Run("GET with forwarding off", func(t *testing.T) {
		in := &Inbound{Anonymous: true}
		open(t, in, "GET http://www.example.org/ HTTP/1.1\r\n\r\n").refused(t, notServed, relay.ErrBadRequest)
	})
	t.Run("HEAD gets no body", func(t *testing.T) {
		open(t, anonymous(), "HEAD / HTTP/1.1\r\n\r\n").refused(t, strings.SplitAfter(notServed, "\r\n\r\n")[0], relay.ErrBadRequest)
	})
}

func TestPasswords(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for _, tt := range []struct {
		name, header string
		anonymous    bool
		user         string // "-": refused
	}{
		{"right", "Basic " + alice, false, "alice"},
		{"right, scheme in small letters", "basic " + alice, false, "alice"},
		{"right, empty password", "Basic " + b64([]byte("nobody:")), false, "nobody"},
		{"right, on an anonymous listener", "Basic " + alice, true, "alice"},
		{"wrong", "Basic " + b64([]byte("alice:S3cret")), false, "-"},
		{"wrong, on an anonymous listener", "Basic " + b64([]byte("alice:S3cret")), true, "-"},
		{"absent", "", false, "-"},
		{"absent, on an anonymous listener", "", true, ""},
		{"no colon", "Basic " + b64([]byte("alice")), false, "-"},
		{"not base64", "Basic alice:s3cret", false, "-"},
		{"no padding", "Basic " + strings.TrimRight(b64([]byte("nobody:")), "="), false, "-"},
		{"empty", "Basic ", false, "-"},
		{"another scheme", "Digest username=\"alice\"", false, "-"},
		{"very long", "Basic " + b64([]byte("alice:"+strings.Repeat("s3cret", 1500))), false, "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &Inbound{Verify: verify, Anonymous: tt.anonymous, Options: Options{Forward: true}}
			head := "CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\n"
			if tt.header != "" {
				head += "Proxy-Authorization: " + tt.header + "\r\n"
			}
			o := open(t, in, head+"\r\n")
			if tt.user == "-" {
				o.refused(t, needsAuth, relay.ErrAuth)
				return
			}
			if o.err != nil {
				t.Fatalf("Open: got %v, want nil", o.err)
			}
			if got := o.req.User().Name; got != tt.user {
				t.Errorf("user: got %q, want %q", got, tt.user)
			}
		})
	}
}

// Who comes in a carrier is that user inside, with or without a password.
func TestCarrier(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		carrier      auth.User
		ok           bool
	}{
		{"no password", "", auth.User{ID: 1, Name: "alice"}, true},
		{"same user", "Proxy-Authorization: Basic " + alice + "\r\n", auth.User{ID: 1, Name: "alice"}, true},
		{"another user", "Proxy-Authorization: Basic " + alice + "\r\n", auth.User{ID: 9, Name: "bob"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := relaytest.Pipe()
			defer client.Close()
			defer server.Close()
			_, _ = io.WriteString(client, "CONNECT www.example.org:443 HTTP/1.1\r\n"+tt.header+"\r\n")
			req, err := (&Inbound{Verify: verify}).Open(context.Background(), tt.carrier, transport.NewPeeked(server))
			if tt.ok && (err != nil || req.User() != tt.carrier) {
				t.Errorf("Open: got %v, %v, want the carrier's user", req, err)
			}
			if !tt.ok && !errors.Is(err, relay.ErrAuth) {
				t.Errorf("Open: got %v, want %v", err, relay.ErrAuth)
			}
		})
	}
}
