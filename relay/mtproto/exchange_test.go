package mtproto

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// exchanges are what a client may open with.
var exchanges = []struct {
	tag    uint32
	id, as int16
	target string
}{
	{tagPadded, 1, 1, "149.154.175.50:443"},
	{tagPadded, 2, 2, "149.154.167.51:443"},
	{tagPadded, -2, -2, "149.154.167.51:443"},
	{tagIntermediate, 3, 3, "149.154.175.100:443"},
	{tagIntermediate, 203, 203, "91.105.192.100:443"},
	{tagIntermediate, -203, -203, "91.105.192.100:443"},
	{tagAbridged, 10002, 10002, "149.154.167.40:443"},
	{tagAbridged, -10002, -10002, "149.154.167.40:443"},
	{tagPadded, 0, 2, "149.154.167.51:443"},
	{tagPadded, 77, 2, "149.154.167.51:443"},
	{tagPadded, -77, -2, "149.154.167.51:443"},
	{tagPadded, 10077, 10002, "149.154.167.40:443"},
	{tagPadded, -32768, -10002, "149.154.167.40:443"},
}

// TestExchange is a client and a data centre, each with its own idea of the
// protocol, and the relay between them: what one says the other hears.
func TestExchange(t *testing.T) {
	relaytest.LeakCheck(t)
	keys := ring(3)
	for _, x := range exchanges {
		for _, reencrypt := range []bool{false, true} {
			for _, how := range []string{"coded", "coded, bytewise", "splice", "splice, early payload"} {
				t.Run(fmt.Sprintf("%x dc %d reencrypt %t %s", x.tag, x.id, reencrypt, how), func(t *testing.T) {
					in := wire(keys)
					in.Reencrypt = reencrypt
					opening, o := dials(byte(x.id), keys.key("alice"), x.tag, x.id)
					e := exchange{t: t, o: o, target: x.target, tag: x.tag, as: x.as}
					switch how {
					case "coded", "coded, bytewise":
						e.coded(in, opening, how != "coded")
					case "splice", "splice, early payload":
						e.spliced(in, opening, how != "splice")
					}
				})
			}
		}
	}
}

type exchange struct {
	t      *testing.T
	o      *obfuscated2
	target string
	tag    uint32
	as     int16
}

// open lets a client in and joins it with far by way of its request.
func (e exchange) open(in *Inbound, c *transport.Peeked, far transport.Conn) (near, newFar transport.Conn) {
	e.t.Helper()
	if _, err := c.Peek(frameSize); err != nil {
		e.t.Fatal(err)
	}
	req, err := in.Open(e.t.Context(), auth.User{}, c)
	if err != nil {
		e.t.Fatalf("Open: got %v, want a request", err)
	}
	if got := req.Target().String(); got != e.target {
		e.t.Errorf("target: got %s, want %s", got, e.target)
	}
	near, newFar, err = req.Accept(e.t.Context(), far)
	if err != nil {
		e.t.Fatalf("Accept: got %v, want nil", err)
	}
	if newFar != far {
		e.t.Error("far: got a layer, want the plain connection")
	}
	return near, newFar
}

// dc takes the frame at the data centre.
func (e exchange) dc(c net.Conn) side {
	e.t.Helper()
	first := make([]byte, frameSize)
	if _, err := io.ReadFull(c, first); err != nil {
		e.t.Fatalf("frame at the data centre: got %v, want it", err)
	}
	o := answers(first, nil)
	if o.tag != e.tag || o.id != e.as || !ordinary(first) {
		e.t.Errorf("frame at the data centre: got tag %x, id %d, beginning % x, want %x, %d", o.tag, o.id, first[:8], e.tag, e.as)
	}
	return side{c, o.back, o.forth}
}

func text(seed byte, n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return string(b)
}

// coded runs it through transport.Coded, in memory, in both directions at once.
func (e exchange) coded(in *Inbound, opening []byte, bytewise bool) {
	raw, server := relaytest.Pipe()
	far, target := relaytest.Pipe()
	defer raw.Close()
	defer target.Close()
	said := make(chan error, 1)
	go func() {
		_, err := raw.Write(opening)
		said <- err
	}()
	near, newFar := e.open(in, transport.NewPeeked(server), far)
	if err := <-said; err != nil {
		e.t.Fatal(err)
	}
	ended := make(chan error, 2)
	join := func(dst, src transport.Conn) {
		_, err := io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{src})
		_ = dst.CloseWrite()
		ended <- err
	}
	go join(newFar, near)
	go join(near, newFar)
	size := 50_000
	if bytewise {
		size = 300
	}
	up, down := text(1, size), text(2, size+7)
	client := side{raw, e.o.forth, e.o.back}
	go func() { ended <- e.write(client, up, bytewise, raw) }()
	dc := e.dc(target)
	go func() { ended <- e.write(dc, down, bytewise, target) }()
	got := make(chan struct{})
	go func() {
		defer close(got)
		reads(e.t, client, down, "at the client")
	}()
	reads(e.t, dc, up, "at the data centre")
	<-got
	for range 4 {
		if err := <-ended; err != nil {
			e.t.Errorf("end: got %v, want nil", err)
		}
	}
	_, _ = near.Close(), newFar.Close()
}

func (e exchange) write(to io.Writer, text string, bytewise bool, end transport.Conn) error {
	for len(text) > 0 {
		n := len(text)
		if bytewise {
			n = 1
		}
		if _, err := io.WriteString(to, text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return end.CloseWrite()
}

// spliced runs it through the core, over loopback.
func (e exchange) spliced(in *Inbound, opening []byte, early bool) {
	core := splice.New(0)
	raw, server := tcpPair(e.t)
	far, target := tcpPair(e.t)
	up, down := text(3, 300_000), text(4, 400_000)
	before := ""
	if early {
		before = text(5, 100)
		opening = slices.Concat(opening, xored(e.o.forth, before))
	}
	if _, err := raw.Write(opening); err != nil {
		e.t.Fatal(err)
	}
	near, newFar := e.open(in, transport.NewPeeked(server), far)
	end := make(chan splice.End, 1)
	core.Join(near, newFar, splice.Limits{}, nil, func(e splice.End) { end <- e })
	client := side{raw, e.o.forth, e.o.back}
	if !early {
		before = "first"
		_, _ = io.WriteString(client, before)
	}
	dc := e.dc(target)
	reads(e.t, dc, before, "first at the data centre")
	ended := make(chan error, 2)
	go func() { ended <- e.write(client, up, false, raw) }()
	go func() { ended <- e.write(dc, down, false, target) }()
	got := make(chan struct{})
	go func() {
		defer close(got)
		reads(e.t, client, down, "at the client")
	}()
	reads(e.t, dc, up, "at the data centre")
	<-got
	if err := errors.Join(<-ended, <-ended); err != nil {
		e.t.Errorf("writes: got %v, want nil", err)
	}
	want := splice.End{Status: transport.OK, Up: int64(frameSize + len(before) + len(up)), Down: int64(len(down))}
	if got := <-end; got != want {
		e.t.Errorf("end: got %+v, want %+v", got, want)
	}
	core.Drain(e.t.Context())
}

// Without encrypting anew what comes down is the same on both links; with it,
// the links have nothing in common.
func TestSameStreamDown(t *testing.T) {
	keys := ring(1)
	f := frame(frameOnly(1, keys.key("alice"), tagPadded, 2))
	for _, reencrypt := range []bool{false, true} {
		c := newCodec(&f, &keys.keys[0], tagPadded, 2, reencrypt)
		wire, err := c.Encode([]byte("before "), []byte("from the data centre"))
		if same := string(wire) == "before from the data centre"; err != nil || same == reencrypt {
			t.Errorf("reencrypt %t: got %q, %v, want the same bytes: %t", reencrypt, wire, err, !reencrypt)
		}
		if got := c.End([]byte("x")); string(got) != "x" || c.Ended() != nil {
			t.Errorf("end: got %q, %v, want nothing said and no complaint", got, c.Ended())
		}
	}
}
