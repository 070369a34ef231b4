package browser_test

import (
	"bytes"
	"crypto/mlkem"
	"crypto/tls"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/transport/browser"
	"relay/transport/hello"
)

// recorded is a hello of the browser that the bundled profile is of.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/chromium-156-" + name + ".hex")
	if err != nil {
		t.Fatalf("recording: got %v, want nil", err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatalf("recording: got %v, want hexadecimal", err)
	}
	return b
}

// same wants a hello of ours to be one that the browser could have sent: all but
// what is drawn for each connection.
func same(t *testing.T, got, want browser.Seen) {
	t.Helper()
	for _, l := range []struct {
		name      string
		got, want browser.Numbers
	}{
		{"cipher suites", got.CipherSuites, want.CipherSuites},
		{"versions", got.Versions, want.Versions},
		{"groups", got.Groups, want.Groups},
		{"key shares", got.KeyShares, want.KeyShares},
		{"signature algorithms", got.SignatureAlgorithms, want.SignatureAlgorithms},
	} {
		if !slices.Equal(l.got, l.want) {
			t.Errorf("%s: got %v, want %v", l.name, l.got, l.want)
		}
	}
	if got.JA4() != want.JA4() {
		t.Errorf("JA4: got %s, want %s", got.JA4(), want.JA4())
	}
	if !slices.Equal(got.Protocols, want.Protocols) {
		t.Errorf("protocols: got %q, want %q", got.Protocols, want.Protocols)
	}
	for _, list := range [][]browser.Extension{got.Extensions, want.Extensions} {
		slices.SortFunc(list, func(a, b browser.Extension) int { return int(a.ID) - int(b.ID) })
	}
	if !slices.EqualFunc(got.Extensions, want.Extensions, func(a, b browser.Extension) bool {
		return a.ID == b.ID && bytes.Equal(a.Body, b.Body)
	}) {
		t.Errorf("extensions: got %v, want %v", got.Extensions, want.Extensions)
	}
	// Apart from the payload of ECH and the length of the name, which the caller
	// has made the same, nothing has a size of its own.
	if g, w := got.Size-got.ECHPayloads[0], want.Size-want.ECHPayloads[0]; g != w && !got.Resumes {
		t.Errorf("size without the payload of ECH: got %d, want %d", g, w)
	}
}

func TestRecordings(t *testing.T) {
	a := newAuthority(t)
	address, visits := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, "localhost")}, NextProtos: []string{"h2", "http/1.1"}})
	for _, tt := range []struct {
		name      string
		webSocket bool
		resumes   bool
	}{
		{"page", false, false},
		{"repeat", false, true},
		{"socket", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := browser.Config{ServerName: "localhost", Roots: a.pool(), WebSocket: tt.webSocket, Sessions: new(browser.Sessions)}
			if tt.resumes {
				first := config
				first.WebSocket = false
				c, err := client(t, address, first)
				if err != nil {
					t.Fatalf("first visit: got %v, want nil", err)
				}
				echo(t, c, 10) // tickets come with the first bytes
				_ = c.Close()
				<-visits
			}
			c, err := client(t, address, config)
			if err != nil {
				t.Fatalf("got %v, want nil", err)
			}
			defer c.Close()
			want, err := browser.Inspect(hello.Message(recorded(t, tt.name)))
			if err != nil {
				t.Fatalf("recording: got %v, want nil", err)
			}
			got := (<-visits).hello(t)
			if got.Resumes != tt.resumes || c.Resumed() != tt.resumes {
				t.Errorf("resumes: got %v, %v, want %v", got.Resumes, c.Resumed(), tt.resumes)
			}
			same(t, got, want)
			echo(t, c, 1000)
		})
	}
}

// TestHellosDiffer: no two hellos are the same, and what has to be real is.
func TestHellosDiffer(t *testing.T) {
	a := newAuthority(t)
	address, visits := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}})
	const count = 200
	randoms, orders, shares, grease := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[uint16]int{}
	payloads := map[int]int{}
	for range count {
		c, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool()})
		if err != nil {
			t.Fatalf("got %v, want nil", err)
		}
		_ = c.Close()
		v := <-visits
		record, _, _ := hello.Record(nil, v.wire)
		h, err := hello.Parse(hello.Message(record))
		if err != nil || len(h.SessionID) != 32 {
			t.Fatalf("hello: got %v and a session id of %d bytes, want one of 32", err, len(h.SessionID))
		}
		randoms[string(h.Random)+string(h.SessionID)] = true
		var order []byte
		var last, first uint16
		for id := range h.Extensions() {
			if len(order) == 0 {
				first = id
			}
			if last = id; !hello.IsGREASE(id) {
				order = append(order, byte(id>>8), byte(id))
			} else {
				order = append(order, 0x0a)
			}
		}
		if !hello.IsGREASE(first) || !hello.IsGREASE(last) || first == last {
			t.Fatalf("extensions: got %04x first and %04x last, want two numbers of GREASE", first, last)
		}
		orders[string(order)] = true
		drawn(t, &h, shares, grease)
		payloads[v.hello(t).ECHPayloads[0]]++
		if got, want := v.hello(t).JA4(), browser.Bundled().TLS.JA4(false); got != want {
			t.Fatalf("JA4: got %s, want %s", got, want)
		}
	}
	if len(randoms) != count || len(shares) != 2*count || len(orders) < count-2 {
		t.Errorf("of %d hellos: got %d randoms, %d keys, %d orders, want each its own", count, len(randoms), len(shares), len(orders))
	}
	if len(grease) != 16 {
		t.Errorf("GREASE of signature algorithms: got %d numbers, want all 16", len(grease))
	}
	if len(payloads) != len(browser.Bundled().TLS.ECHPayloads) {
		t.Errorf("sizes of ECH payloads: got %v, want those of %v", payloads, browser.Bundled().TLS.ECHPayloads)
	}
}

// drawn looks at the keys and at GREASE: the same for a group and for its key.
func drawn(t *testing.T, h *hello.Hello, shares map[string]bool, grease map[uint16]int) {
	t.Helper()
	var group, share uint16
	for g := range h.Groups() {
		if hello.IsGREASE(g) {
			group = g
		}
	}
	for g, key := range h.KeyShares() {
		switch g {
		case hello.GroupX25519:
			// A real public key is below 2^255.
			if len(key) != 32 || key[31]&0x80 != 0 {
				t.Fatalf("X25519: got %x, want a public key", key)
			}
			shares[string(key)] = true
		case hello.GroupX25519MLKEM768:
			if _, err := mlkem.NewEncapsulationKey768(key[:mlkem.EncapsulationKeySize768]); err != nil {
				t.Fatalf("ML-KEM: got %v, want a public key", err)
			}
			shares[string(key[mlkem.EncapsulationKeySize768:])] = true
		default:
			share = g
		}
	}
	if group != share || group == 0 {
		t.Fatalf("GREASE: got group %04x and a key for %04x, want the same", group, share)
	}
	for id, body := range h.Extensions() {
		if id == 13 {
			grease[uint16(body[2])<<8|uint16(body[3])]++
		}
	}
}

// TestJA4 has the example of FoxIO's technical details, as a profile.
func TestJA4(t *testing.T) {
	numbers := func(s string) (l browser.Numbers) {
		if err := l.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		return l
	}
	profile := browser.TLS{
		CipherSuites:        numbers("grease 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"),
		Versions:            numbers("grease 0304 0303"),
		SignatureAlgorithms: numbers("0403 0804 0401 0503 0805 0501 0806 0601"),
		Protocols:           []string{"h2", "http/1.1"},
	}
	for _, n := range numbers("grease 001b 0000 0033 0010 4469 0017 002d 000d 0005 0023 0012 002b ff01 000b 000a 0015 grease") {
		profile.Extensions = append(profile.Extensions, browser.Extension{ID: n})
	}
	if got, want := profile.JA4(false), "t13d1516h2_8daaf6152771_e5627efa2ab1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	profile.Protocols = nil
	if got, want := profile.JA4(false)[:10], "t13d151600"; got != want {
		t.Errorf("without protocols: got %s, want %s", got, want)
	}
}

func TestSessions(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}}
	address, visits := serve(t, config)
	c := browser.Config{ServerName: name, Roots: a.pool(), Sessions: new(browser.Sessions)}
	visit := func(t *testing.T, c browser.Config, talk bool) bool {
		t.Helper()
		conn, err := client(t, address, c)
		if err != nil {
			t.Fatalf("got %v, want nil", err)
		}
		defer conn.Close()
		if talk {
			echo(t, conn, 10)
		}
		v := <-visits
		if v.state.DidResume != conn.Resumed() {
			t.Errorf("resumed: got %v, want %v as the server says", conn.Resumed(), v.state.DidResume)
		}
		return conn.Resumed()
	}
	// The server gives one ticket to a visit, which comes with its first bytes.
	for i, tt := range []struct{ talk, want bool }{{true, false}, {false, true}, {true, false}, {true, true}, {true, true}} {
		if got := visit(t, c, tt.talk); got != tt.want {
			t.Errorf("visit %d: got resumed %v, want %v: a ticket is used once", i, got, tt.want)
		}
	}
	t.Run("another certificate is judged", func(t *testing.T) {
		other := c
		other.Roots = newAuthority(t).pool()
		if conn, err := client(t, address, other); err == nil {
			_ = conn.Close()
			t.Error("got a connection, want the certificate refused in a session that resumes, too")
		}
		<-visits
	})
	t.Run("a server that has forgotten", func(t *testing.T) {
		visit(t, c, true)
		config.SetSessionTicketKeys([][32]byte{{1}})
		if visit(t, c, true) {
			t.Error("got resumed, want a whole handshake")
		}
	})
}

// TestSessionsAnotherHello: the library cannot resume where the server asks for
// another hello, so that no ticket of such a server is kept.
func TestSessionsAnotherHello(t *testing.T) {
	a := newAuthority(t)
	address, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}, CurvePreferences: []tls.CurveID{tls.CurveP256}})
	c := browser.Config{ServerName: name, Roots: a.pool(), Sessions: new(browser.Sessions)}
	for i := range 3 {
		conn, err := client(t, address, c)
		if err != nil {
			t.Fatalf("visit %d: got %v, want nil", i, err)
		}
		echo(t, conn, 10)
		_ = conn.Close()
	}
}

func TestSessionsTLS12(t *testing.T) {
	a := newAuthority(t)
	address, visits := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}, MaxVersion: tls.VersionTLS12})
	c := browser.Config{ServerName: name, Roots: a.pool(), Sessions: new(browser.Sessions)}
	for i := range 3 {
		conn, err := client(t, address, c)
		if err != nil {
			t.Fatalf("visit %d: got %v, want nil", i, err)
		}
		echo(t, conn, 10)
		_ = conn.Close()
		if v := <-visits; i == 1 && !v.state.DidResume {
			t.Error("second visit: got a whole handshake, want it resumed")
		}
	}
}

// TestWaitRead: waiting holds no bytes back, and all come in their order.
func TestWaitRead(t *testing.T) {
	a := newAuthority(t)
	address, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}})
	c, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool()})
	if err != nil {
		t.Fatalf("got %v, want nil", err)
	}
	defer c.Close()
	want := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	go func() {
		for b := want; len(b) > 0; {
			n := min(len(b), 30_011)
			_, _ = c.Write(b[:n])
			b = b[n:]
		}
		_ = c.CloseWrite()
	}()
	var got []byte
	for b := make([]byte, 7_001); ; {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if err := c.WaitRead(); err != nil {
			t.Fatalf("wait: got %v, want nil", err)
		}
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want the %d that were sent", len(got), len(want))
	}
}

func TestWaitReadDeadline(t *testing.T) {
	a := newAuthority(t)
	address, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}})
	c, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool()})
	if err != nil {
		t.Fatalf("got %v, want nil", err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_ = c.WaitRead()
	if _, err := c.Read(make([]byte, 10)); !isTimeout(err) {
		t.Errorf("got %v, want the deadline", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	echo(t, c, 100) // the connection goes on
}

func isTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}

// TestNoECH leaves one extension out of the hello, and nothing else.
func TestNoECH(t *testing.T) {
	a := newAuthority(t)
	address, visits := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}})
	var ids [2][]browser.Number
	for i, without := range []bool{false, true} {
		c, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool(), NoECH: without})
		if err != nil {
			t.Fatalf("got %v, want nil", err)
		}
		_ = c.Close()
		for _, e := range (<-visits).hello(t).Extensions {
			if e.ID != 0xfe0d || without {
				ids[i] = append(ids[i], e.ID)
			}
		}
		slices.Sort(ids[i])
	}
	if !slices.Equal(ids[0], ids[1]) {
		t.Errorf("got extensions %v without ECH, want %v", ids[1], ids[0])
	}
}
