package mtproto

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/transport"
)

var (
	_ relay.Inbound     = (*Inbound)(nil)
	_ transport.Request = (*request)(nil)
)

// frameOnly is the opening of a client with secret.
func frameOnly(seed byte, secret []byte, tag uint32, id int16) []byte {
	b, _ := dials(seed, secret, tag, id)
	return b
}

// The suite knows nothing of encryption: what a client sends is to reach the
// target as it is. So the encryption that the inbound puts on what goes up is
// taken off again behind it, as the data centre would.
func TestConformance(t *testing.T) {
	keys := ring(3)
	secret := keys.key("alice")
	var openings []relaytest.Opening
	for i, o := range []struct {
		name   string
		tag    uint32
		id     int16
		target string
	}{
		{"padded", tagPadded, 2, "149.154.167.51:443"},
		{"intermediate", tagIntermediate, -4, "149.154.167.91:443"},
		{"abridged", tagAbridged, 203, "91.105.192.100:443"},
	} {
		openings = append(openings, relaytest.Opening{
			Name: o.name, Bytes: string(frameOnly(byte(i), secret, o.tag, o.id)), Target: o.target, User: "alice",
		})
	}
	opener := func() relaytest.Opener {
		in := inside(keys)
		return relaytest.Opener{
			Match: func(b []byte) int { return int(in.Match(b)) },
			Open: func(ctx context.Context, user auth.User, c *transport.Peeked) (transport.Request, error) {
				req, err := in.Open(ctx, user, c)
				if err != nil {
					return nil, err
				}
				return &asSent{req, secret}, nil
			},
		}
	}
	t.Run("inside", func(t *testing.T) {
		relaytest.Inbound(t, opener, relaytest.Samples{
			Openings: openings, Secret: string(secret),
			Denials: []relaytest.Denial{{Reason: policy.ErrDenied}, {Reason: policy.ErrRefused}, {Reason: auth.ErrQuota}, {Reason: context.Canceled}},
			// Too short to say.
			Claims: slices.Collect(maps.Keys(relaytest.Strangers)),
		})
	})
	t.Run("wire", func(t *testing.T) {
		in := wire(keys)
		relaytest.Inbound(t, func() relaytest.Opener {
			return relaytest.Opener{Match: func(b []byte) int { return int(in.Match(b)) }, Open: in.Open}
		}, relaytest.Samples{})
	})
}

// asSent undoes the encryption of a request.
type asSent struct {
	transport.Request
	secret []byte
}

// Accept implements transport.Request.
func (a *asSent) Accept(ctx context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	client := ciphers(a.Request.(*request).frame[:], a.secret)
	client.forth.XORKeyStream(make([]byte, frameSize), make([]byte, frameSize))
	near, newFar, err = a.Request.Accept(ctx, far)
	if err != nil {
		return nil, nil, err
	}
	return transport.NewCoded(near, &undo{client: client}), newFar, nil
}

type undo struct {
	client, dc *obfuscated2
	first      []byte
}

func (u *undo) Decode(dst, wire []byte) ([]byte, error) {
	if u.dc == nil {
		n := min(len(wire), frameSize-len(u.first))
		u.first, wire = append(u.first, wire[:n]...), wire[n:]
		if len(u.first) < frameSize {
			return dst, nil
		}
		u.dc = answers(u.first, nil)
	}
	plain := xored(u.dc.forth, string(wire))
	return append(dst, xored(u.client.forth, string(plain))...), nil
}

func (u *undo) Encode(dst, payload []byte) ([]byte, error) { return append(dst, payload...), nil }
func (u *undo) Ended() error                               { return nil }
func (u *undo) End(dst []byte) []byte                      { return dst }

func TestMatch(t *testing.T) {
	f := frameOnly(1, ring(1).key("alice"), tagPadded, 2)
	with := func(first string) []byte { return append([]byte(first), f[len(first):]...) }
	for _, tt := range []struct {
		name           string
		prefix         []byte
		onWire, inside relay.Verdict
	}{
		{"nothing", nil, relay.More, relay.More},
		{"one byte", f[:1], relay.No, relay.More},
		{"63 bytes", f[:63], relay.No, relay.More},
		{"a frame", f, relay.Yes, relay.Yes},
		{"a frame and payload", append(f[:64:64], "payload"...), relay.Yes, relay.Yes},
		{"noise", bytes.Repeat([]byte{'x'}, 64), relay.Yes, relay.Yes},
		{"abridged", with("\xef"), relay.No, relay.Yes},
		{"intermediate", with("\xee\xee\xee\xee"), relay.No, relay.Yes},
		{"padded", with("\xdd\xdd\xdd\xdd"), relay.No, relay.Yes},
		{"TLS", with("\x16\x03\x01\x02"), relay.No, relay.Yes},
		{"HEAD", with("HEAD / HTTP"), relay.No, relay.Yes},
		{"GET", with("GET / HTTP"), relay.No, relay.Yes},
		{"POST", with("POST / HTTP"), relay.No, relay.Yes},
		{"OPTIONS", with("OPTIONS * HTTP"), relay.No, relay.Yes},
		{"zero length", with("abcd\x00\x00\x00\x00"), relay.No, relay.Yes},
		{"zeros", make([]byte, 64), relay.No, relay.Yes},
	} {
		if got := wire(nil).Match(tt.prefix); got != tt.onWire {
			t.Errorf("%s, on the wire: got %d, want %d", tt.name, got, tt.onWire)
		}
		if got := inside(nil).Match(tt.prefix); got != tt.inside {
			t.Errorf("%s, inside: got %d, want %d", tt.name, got, tt.inside)
		}
	}
}

// Who gets in where, and with what. A stranger on the wire leaves no trace: not
// a byte is read, written or taken, and nobody has proved anything.
func TestOpen(t *testing.T) {
	keys := ring(4)
	alice := keys.key("alice")
	both, dd, simple := []Kind{KindPadded, KindSimple}, []Kind{KindPadded}, []Kind{KindSimple}
	wrong := bytes.Repeat([]byte{1}, SecretSize)
	for _, tt := range []struct {
		name   string
		secret []byte
		tag    uint32
		plain  []Kind
		wire   bool // is it let in on the wire
		inside bool // is it let in inside
	}{
		{"dd", alice, tagPadded, both, true, true},
		{"padded with a simple secret", alice, tagPadded, simple, true, true},
		{"simple, intermediate", alice, tagIntermediate, simple, true, true},
		{"simple, abridged", alice, tagAbridged, simple, true, true},
		{"simple, only dd allowed", alice, tagIntermediate, dd, false, true},
		{"abridged, only dd allowed", alice, tagAbridged, dd, false, true},
		{"nothing allowed", alice, tagPadded, nil, false, true},
		{"first user", keys.key("user1"), tagPadded, dd, true, true},
		{"wrong secret", wrong, tagPadded, both, false, false},
		{"no secret", nil, tagPadded, both, false, false},
		{"wrong tag", alice, 0xdededede, both, false, false},
		{"tag of zeros", alice, 0, both, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opening := append(frameOnly(9, tt.secret, tt.tag, 2), "payload"...)
			for _, in := range []*Inbound{
				{Keys: keys, DCs: NewTable(TableOptions{}), Plain: tt.plain, Replays: NewReplays()},
				{Keys: keys, DCs: NewTable(TableOptions{}), Plain: tt.plain, Inside: true},
			} {
				keys.proved = nil
				p, _, raw := said(t, opening)
				before := raw.reads
				req, err := in.Open(t.Context(), auth.User{}, p)
				if want := in.Inside && tt.inside || !in.Inside && tt.wire; want != (err == nil) || want != (req != nil) {
					t.Fatalf("inside %t: got %v, %v, want let in: %t", in.Inside, req, err, want)
				}
				if raw.writes > 0 || raw.reads != before {
					t.Errorf("inside %t: got %d reads, %d writes, want none", in.Inside, raw.reads-before, raw.writes)
				}
				if err != nil {
					refusedRight(t, in, err, p, opening, keys)
					continue
				}
				if got := string(p.Unread()); got != "payload" {
					t.Errorf("unread: got %q, want the payload", got)
				}
				if len(keys.proved) != 1 || keys.proved[0] != req.User().Name || !bytes.Equal(keys.key(req.User().Name), tt.secret) {
					t.Errorf("proved: got %q, user %q, want the one whose secret it is", keys.proved, req.User().Name)
				}
			}
		})
	}
}

func refusedRight(t *testing.T, in *Inbound, err error, p *transport.Peeked, opening []byte, keys *keyring) {
	t.Helper()
	want := transport.ErrNotOurs
	if in.Inside {
		want = relay.ErrBadRequest
	}
	if !errors.Is(err, want) || in.Inside == errors.Is(err, transport.ErrNotOurs) {
		t.Errorf("inside %t: got %v, want %v", in.Inside, err, want)
	}
	if got := p.Unread(); !bytes.Equal(got, opening) {
		t.Errorf("inside %t, unread: got %d bytes, want all %d", in.Inside, len(got), len(opening))
	}
	if len(keys.proved) > 0 {
		t.Errorf("inside %t, proved: got %q, want nobody", in.Inside, keys.proved)
	}
}

// Where a carrier has proved a user, his key is the only one that is tried.
func TestOpenCarrierUser(t *testing.T) {
	keys := ring(5)
	bob, alice := keys.users[1], keys.users[4]
	for _, tt := range []struct {
		name string
		user auth.User
		key  string
		ok   bool
	}{
		{"his own", alice, "alice", true},
		{"somebody else's", alice, bob.Name, false},
		{"a user without a key", auth.User{ID: 99, Name: "mallory"}, "alice", false},
	} {
		keys.asked, keys.proved = 0, nil
		p, _, _ := said(t, frameOnly(3, keys.key(tt.key), tagPadded, 2))
		req, err := inside(keys).Open(t.Context(), tt.user, p)
		if tt.ok && (err != nil || req.User() != tt.user) || !tt.ok && !errors.Is(err, relay.ErrBadRequest) {
			t.Errorf("%s: got %v, want let in: %t", tt.name, err, tt.ok)
		}
		if keys.asked > 0 || len(keys.proved) > 0 {
			t.Errorf("%s: got %d candidates, %q proved, want none: the carrier knows", tt.name, keys.asked, keys.proved)
		}
	}
}

// Nobody on the wire is waited for, and nobody is a stranger before he is tried.
func TestOpenTooShort(t *testing.T) {
	f := frameOnly(3, ring(1).key("alice"), tagPadded, 2)
	for _, n := range []int{0, 1, 63} {
		p, _, raw := said(t, f[:n])
		before := raw.reads
		if _, err := wire(ring(1)).Open(t.Context(), auth.User{}, p); err != transport.ErrNotOurs || raw.reads != before {
			t.Errorf("%d bytes: got %v, %d reads, want ErrNotOurs and none", n, err, raw.reads-before)
		}
	}
}

// A frame opens the wire once, whatever is changed in what its keys do not
// depend on; inside, the carrier sees to that.
func TestReplayedFrame(t *testing.T) {
	keys := ring(2)
	in, carried := wire(keys), inside(keys)
	f := frameOnly(5, keys.key("alice"), tagPadded, 2)
	other := append([]byte("ABCDEFGH"), f[8:]...) // the free bytes
	otherDC := slices.Clone(f)
	otherDC[60] ^= 2 ^ 4 // nothing protects them
	for i, again := range [][]byte{f, f, other, otherDC} {
		p, _, raw := said(t, again)
		_, err := in.Open(t.Context(), auth.User{}, p)
		if i == 0 && err != nil || i > 0 && (err != transport.ErrNotOurs || len(p.Unread()) != len(f) || raw.writes > 0) {
			t.Errorf("time %d: got %v, want only the first one in", i+1, err)
		}
		p, _, _ = said(t, again)
		if _, err := carried.Open(t.Context(), auth.User{}, p); err != nil {
			t.Errorf("time %d, inside: got %v, want nil", i+1, err)
		}
	}
	// A stranger's noise is not remembered: it would push out what matters.
	before := len(in.Replays.young)
	p, _, _ := said(t, frameOnly(6, nil, tagPadded, 2))
	_, _ = in.Open(t.Context(), auth.User{}, p)
	if got := len(in.Replays.young); got != before {
		t.Errorf("remembered: got %d, want %d as before", got, before)
	}
}

func TestUnknownDC(t *testing.T) {
	keys := ring(1)
	for _, in := range []*Inbound{wire(keys), inside(keys)} {
		in.DCs = NewTable(TableOptions{RefuseUnknown: true})
		f := frameOnly(7, keys.key("alice"), tagPadded, 77)
		p, _, _ := said(t, f)
		_, err := in.Open(t.Context(), auth.User{}, p)
		if !in.Inside && err != transport.ErrNotOurs || in.Inside && !errors.Is(err, relay.ErrBadRequest) {
			t.Errorf("inside %t: got %v, want it refused", in.Inside, err)
		}
		if len(p.Unread()) != frameSize || len(keys.proved) > 0 {
			t.Errorf("inside %t: got %d bytes unread, %q proved, want all and nobody", in.Inside, len(p.Unread()), keys.proved)
		}
	}
}

// What becomes of a request tells the table about the address.
func TestHealthFromRequests(t *testing.T) {
	keys := ring(1)
	in := inside(keys)
	open := func() transport.Request {
		p, _, _ := said(t, frameOnly(1, keys.key("alice"), tagPadded, 2))
		req, err := in.Open(t.Context(), auth.User{}, p)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	const first, second = "149.154.167.51:443", "95.161.76.100:443"
	for _, reason := range []error{policy.ErrDenied, auth.ErrQuota, context.Canceled, io.EOF, policy.ErrNotFound} {
		if err := open().Deny(reason); !errors.Is(err, relay.ErrNoReply) {
			t.Errorf("Deny: got %v, want ErrNoReply", err)
		}
		if got := open().Target().String(); got != first {
			t.Errorf("target after %v: got %s, want %s", reason, got, first)
		}
	}
	was := open()
	_ = open().Deny(policy.ErrTimeout)
	if got := open().Target().String(); got != second {
		t.Errorf("target after a time-out: got %s, want %s", got, second)
	}
	far, peer := relaytest.Pipe()
	defer peer.Close()
	near, newFar, err := was.Accept(t.Context(), far)
	if err != nil || newFar != transport.Conn(far) {
		t.Errorf("Accept: got %v, %v, want far as it is", newFar, err)
	}
	_, _ = near.Close(), far.Close()
	if got := open().Target().String(); got != first {
		t.Errorf("target after a success: got %s, want %s", got, first)
	}
}

// No error says what only the client and the operator may know.
func TestErrorsAreQuiet(t *testing.T) {
	p, _, _ := said(t, frameOnly(7, ring(1).key("alice"), tagPadded, 77))
	_, err := inside(ring(1)).Open(t.Context(), auth.User{ID: 9, Name: "carol"}, p)
	if err == nil || strings.Contains(err.Error(), "carol") || strings.Contains(err.Error(), "77") {
		t.Errorf("error: got %v, want no name and no number in it", err)
	}
}
