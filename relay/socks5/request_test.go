package socks5

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

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

// open lets in read bytes that a client says in one go before it ends its
// direction.
func open(t *testing.T, in *Inbound, carrier auth.User, said string) outcome {
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
	o.req, o.err = in.Open(context.Background(), carrier, p)
	o.writes, o.unread = w.writes, string(p.Unread())
	return o
}

func sameWrites(got []string, want ...string) bool {
	return strings.Join(got, "|") == strings.Join(want, "|")
}

func TestTargets(t *testing.T) {
	long := strings.Repeat("a.", 126) + "b" // 253 bytes
	for _, tt := range []struct{ name, request, want string }{
		{"IPv4", to, "93.184.216.34:443"},
		{"IPv6", toIPv6("2001:db8::1"), "[2001:db8::1]:443"},
		{"IPv4-mapped IPv6 becomes IPv4", toIPv6("::ffff:127.0.0.1"), "127.0.0.1:443"},
		{"name", toName("www.example.org", 80), "www.example.org:80"},
		{"name in capitals, with a final dot", toName("WWW.Example.ORG.", 80), "www.example.org:80"},
		{"name of one byte", toName("x", 1), "x:1"},
		{"longest name", toName(long, 65535), long + ":65535"},
		{"address written out", toName("127.0.0.1", 443), "127.0.0.1:443"},
		{"IPv6 address written out", toName("::ffff:10.0.0.1", 443), "10.0.0.1:443"},
		{"reserved byte set", "\x05\x01\x7f\x01\x5d\xb8\xd8\x22\x01\xbb", "93.184.216.34:443"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := open(t, &Inbound{Anonymous: true}, auth.User{}, anyone+tt.request+"payload")
			if o.err != nil {
				t.Fatalf("Open: got %v, want nil", o.err)
			}
			if got := o.req.Target().String(); got != tt.want {
				t.Errorf("target: got %s, want %s", got, tt.want)
			}
			if o.unread != "payload" {
				t.Errorf("unread: got %q, want %q", o.unread, "payload")
			}
			if !sameWrites(o.writes, granted) {
				t.Errorf("writes: got %q, want only the method", o.writes)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		code          byte
	}{
		{"BIND", "\x05\x02\x00\x01\x5d\xb8\xd8\x22\x01\xbb", replyBadCommand},
		{"UDP ASSOCIATE", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", replyBadCommand},
		{"UDP ASSOCIATE to a name", "\x05\x03\x00" + toName("x.example", 53)[3:], replyBadCommand},
		{"command 0", "\x05\x00\x00\x01\x5d\xb8\xd8\x22\x01\xbb", replyBadCommand},
		{"command 255", "\x05\xff\x00\x04" + strings.Repeat("\x01", 18), replyBadCommand},
		{"address type 0", "\x05\x01\x00\x00\x5d\xb8\xd8\x22\x01\xbb", replyBadAddressType},
		{"address type 2", "\x05\x01\x00\x02\x5d\xb8\xd8\x22\x01\xbb", replyBadAddressType},
		{"address type 255", "\x05\x01\x00\xff\x5d\xb8\xd8\x22\x01\xbb", replyBadAddressType},
		{"version 4", "\x04\x01\x01\xbb\x5d\xb8\xd8\x22\x00", replyFailure},
		{"empty name", "\x05\x01\x00\x03\x00\x01\xbb", replyFailure},
		{"name of 255 bytes", toName(strings.Repeat("a", 255), 443), replyFailure},
		{"name of 254 bytes", toName(strings.Repeat("a.", 126)+"bb", 443), replyFailure},
		{"label of 64 bytes", toName(strings.Repeat("a", 64)+".org", 443), replyFailure},
		{"name with a NUL", toName("www.example.org\x00.evil", 443), replyFailure},
		{"name with a line break", toName("a\r\nb", 443), replyFailure},
		{"name with a port", toName("www.example.org:443", 443), replyFailure},
		{"address in disguise", toName("127.1", 443), replyFailure},
		{"address with a zone", toName("fe80::1%eth0", 443), replyFailure},
		{"name in UTF-8", toName("пример.рф", 443), replyFailure},
		{"port 0", "\x05\x01\x00\x01\x5d\xb8\xd8\x22\x00\x00", replyFailure},
		{"port 0 of a name", toName("www.example.org", 0), replyFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := open(t, &Inbound{Anonymous: true}, auth.User{}, anyone+tt.request)
			if !errors.Is(o.err, relay.ErrBadRequest) {
				t.Errorf("Open: got %v, want %v", o.err, relay.ErrBadRequest)
			}
			if !sameWrites(o.writes, granted, reply(tt.code)) {
				t.Errorf("writes: got %q, want %q and %q", o.writes, granted, reply(tt.code))
			}
			for _, leak := range []string{"example", "93.184", "127.1", "aaa"} {
				if o.err != nil && strings.Contains(o.err.Error(), leak) {
					t.Errorf("error: got %q, want no target in it", o.err)
				}
			}
		})
	}
}

func TestMethods(t *testing.T) {
	var all, most strings.Builder // 255 methods, with and without 00 and 02
	for i := range 255 {
		all.WriteByte(byte(i))
		most.WriteByte(byte(3 + i%200))
	}
	carried := auth.User{ID: 1, Name: "alice"}
	for _, tt := range []struct {
		name      string
		anonymous bool
		carrier   auth.User
		offer     string
		want      string
	}{
		{"anonymous, 00", true, auth.User{}, "\x00", granted},
		{"anonymous, 00 and 02", true, auth.User{}, "\x00\x02", granted},
		{"anonymous, 02 before 00", true, auth.User{}, "\x02\x00", granted},
		{"anonymous, only 02", true, auth.User{}, "\x02", asked},
		{"anonymous, 255 methods", true, auth.User{}, all.String(), granted},
		{"anonymous, GSSAPI", true, auth.User{}, "\x01", refused},
		{"anonymous, no method", true, auth.User{}, "", refused},
		{"password, 00", false, auth.User{}, "\x00", refused},
		{"password, 00 and 02", false, auth.User{}, "\x00\x02", asked},
		{"password, 02", false, auth.User{}, "\x02", asked},
		{"password, 255 methods", false, auth.User{}, all.String(), asked},
		{"password, 255 others", false, auth.User{}, most.String(), refused},
		{"password, no method", false, auth.User{}, "", refused},
		{"password, only FF", false, auth.User{}, "\xff", refused},
		{"password, in a carrier", false, carried, "\x00", granted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			greeting := "\x05" + string([]byte{byte(len(tt.offer))}) + tt.offer
			o := open(t, &Inbound{Verify: verify, Anonymous: tt.anonymous}, tt.carrier, greeting)
			if !sameWrites(o.writes, tt.want) {
				t.Errorf("writes: got %q, want %q", o.writes, tt.want)
			}
			if got, want := errors.Is(o.err, relay.ErrAuth), tt.want == refused; got != want {
				t.Errorf("Open: got %v, want ErrAuth: %v", o.err, want)
			}
		})
	}
}

func TestPasswords(t *testing.T) {
	long := "\x01\xff" + strings.Repeat("n", 255) + "\xff" + strings.Repeat("p", 255)
	bob := auth.User{ID: 9, Name: "bob"}
	for _, tt := range []struct {
		name    string
		carrier auth.User
		auth    string
		user    string // "": refused
		err     error
	}{
		{name: "right", auth: alice, user: "alice"},
		{name: "right, longest", auth: long, user: "long"},
		{name: "right, empty name and password", auth: "\x01\x00\x00", user: "nobody"},
		{name: "wrong", auth: "\x01\x05alice\x06s3creT", err: relay.ErrAuth},
		{name: "empty password", auth: "\x01\x05alice\x00", err: relay.ErrAuth},
		{name: "empty name", auth: "\x01\x00\x06s3cret", err: relay.ErrAuth},
		{name: "longer password", auth: "\x01\x05alice\x07s3cret\x00", err: relay.ErrAuth},
		{name: "version 5", auth: "\x05\x05alice\x06s3cret", err: relay.ErrBadRequest},
		{name: "version 0", auth: "\x00\x05alice\x06s3cret", err: relay.ErrBadRequest},
		{name: "the carrier's user", carrier: auth.User{ID: 1, Name: "alice"}, auth: alice, user: "alice"},
		{name: "not the carrier's user", carrier: bob, auth: alice, err: relay.ErrAuth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := open(t, &Inbound{Verify: verify}, tt.carrier, password+tt.auth+to+"payload")
			if tt.user == "" {
				if !sameWrites(o.writes, asked, wrong) || !errors.Is(o.err, tt.err) {
					t.Errorf("Open: got %v and writes %q, want %v and %q", o.err, o.writes, tt.err, []string{asked, wrong})
				}
				return
			}
			if o.err != nil || !sameWrites(o.writes, asked, welcome) {
				t.Fatalf("Open: got %v and writes %q, want nil and %q", o.err, o.writes, []string{asked, welcome})
			}
			if got := o.req.User().Name; got != tt.user || o.unread != "payload" {
				t.Errorf("user and unread: got %q, %q, want %q, %q", got, o.unread, tt.user, "payload")
			}
		})
	}
}

// A wrong password is answered when Verify returns, neither sooner nor later,
// and a cancelled context ends the wait.
func TestWrongPasswordWaitsForVerify(t *testing.T) {
	slow := func(ctx context.Context, _ netip.Addr, _, _ string) (auth.User, error) {
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
		}
		return auth.User{}, auth.ErrCredentials
	}
	for _, tt := range []struct {
		name   string
		cancel time.Duration
		want   time.Duration
	}{
		{"delayed", time.Hour, 3 * time.Second},
		{"cancelled", time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.cancel)
				defer cancel()
				client, server := relaytest.Pipe()
				defer client.Close()
				defer server.Close()
				began := time.Now()
				go func() {
					in := &Inbound{Verify: slow}
					if _, err := in.Open(ctx, auth.User{}, transport.NewPeeked(server)); !errors.Is(err, relay.ErrAuth) {
						t.Errorf("Open: got %v, want %v", err, relay.ErrAuth)
					}
				}()
				if _, err := client.Write([]byte(password + alice + to)); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 4)
				for n := 0; n < len(got); {
					m, err := client.Read(got[n:])
					if err != nil {
						t.Fatal(err)
					}
					n += m
				}
				if string(got) != asked+wrong || time.Since(began) != tt.want {
					t.Errorf("answer: got % x after %v, want % x after %v", got, time.Since(began), asked+wrong, tt.want)
				}
			})
		})
	}
}

// The source that Verify is told is the client's.
func TestVerifySource(t *testing.T) {
	var got netip.Addr
	in := &Inbound{Verify: func(_ context.Context, source netip.Addr, name, password string) (auth.User, error) {
		got = source
		return verify(context.Background(), source, name, password)
	}}
	if o := open(t, in, auth.User{}, password+alice+to); o.err != nil {
		t.Fatal(o.err)
	}
	if want := netip.MustParseAddr("127.0.0.1"); got != want {
		t.Errorf("source: got %v, want %v", got, want)
	}
}
