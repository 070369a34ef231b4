package probe

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// web is Go's own server, which our handshakes must please.
func web(t *testing.T, change func(*tls.Config)) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("hello " + r.Proto))
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{}
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestSessions completes handshakes by hand with crypto/tls and reads the answers.
func TestSessions(t *testing.T) {
	t.Parallel()
	both := web(t, nil)
	old := web(t, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	p256 := web(t, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} })
	for _, tt := range []struct{ server, probe, want string }{
		{both, "web-get", `text "HTTP/1.1 200 OK"`},
		{both, "web-twice", `text "HTTP/1.1 200 OK"`},
		{p256, "web-no-alpn", `text "HTTP/1.1 200 OK"`},
		{both, "h2-get", "HEADERS[1,0x4]"},
		{both, "h2-ping", "PING[0,0x1] 8"},
		{both, "inside-update-1-10", `text "HTTP/1.1 200 OK"`},
		{both, "inside-nothing", "Finished"},
		{both, "inside-12-get", `text "HTTP/1.1 200 OK"`},
		{both, "inside-bad-finished", "alert 2,"},
		{both, "half-retry-good", "HelloRetryRequest"},
		{both, "hello-pq-only", "ServerHello"},
		{both, "hello-chrome", "ServerHello"},
		{both, "hello-faketls-pq", "ServerHello"},
		{both, "hello-go-tls13", "ServerHello"},
		{both, "records-5", "ServerHello"},
		{both, "bytewise", "ServerHello"},
		{old, "web-get", `text "HTTP/1.1 200 OK"`},
		{old, "h2-get", "HEADERS[1,0x4]"},
		{old, "hello-tls12", "ServerKeyExchange"},
	} {
		t.Run(tt.probe, func(t *testing.T) {
			t.Parallel()
			r, err := Run(context.Background(), Options{
				Target: tt.server, Reference: tt.server, Name: "example.com", Runs: 1, Settle: 300 * time.Millisecond,
				Choose: func(p Probe) bool { return p.Name == tt.probe },
			})
			if err != nil || len(r.Results) != 1 {
				t.Fatalf("got %v and %v, want one result", r, err)
			}
			if got := r.Results[0].Reference.text(); !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %q in it", got, tt.want)
			}
			// How Go's HTTP/2 cuts its answers is a race; one run is not enough to learn it.
			if r.Differing > 0 && !strings.HasPrefix(tt.probe, "h2-") {
				t.Errorf("got a difference of a server from itself: %s", r.Results[0].Why)
			}
		})
	}
}

// TestStacks tells two configurations of one stack apart.
func TestStacks(t *testing.T) {
	t.Parallel()
	a, b := web(t, nil), web(t, func(c *tls.Config) { c.SessionTicketsDisabled = true })
	r, err := Run(context.Background(), Options{
		Target: b, Reference: a, Name: "example.com", Runs: 2, Quick: true, Settle: 100 * time.Millisecond,
		Choose: func(p Probe) bool {
			return slices.Contains([]string{"inside-nothing", "hello-tls10", "plain-get"}, p.Name)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := differing(r); !slices.Equal(got, []string{"inside-nothing"}) {
		t.Errorf("no session tickets: got differences %q, want inside-nothing", got)
	}
}

// FuzzTrace reads answers that a hostile server could send.
func FuzzTrace(f *testing.F) {
	sh := message1(msgServerHello, append([]byte{3, 3}, noise(60)...))
	f.Add(plainRecord(recHandshake, 0x0303, sh), false)
	f.Add(join(ccs(1), alert(2, 40), plainRecord(recData, 0x0303, noise(90))), false)
	f.Add(plainRecord(recHandshake, 0x0303, message1(msgTicket, noise(40))), false)
	f.Add(plainRecord(recHandshake, 0x0303, message1(msgKeyExchange, []byte{3, 0, 29, 32, 1})), true)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\nDate: today\r\n\r\n"), false)
	f.Add(join(frame(frameSettings, 0, 0), frame(frameHeaders, 4, 1, block("date", "x"))), true)
	f.Fuzz(func(t *testing.T, got []byte, h2 bool) {
		c := &conn{got: got, h2: h2, end: endFIN}
		tr := traceOf(c, slackECDSA)
		_ = tr.summary()
		if h2 {
			_ = frames(got)
		}
		s := &session{sent: got, version: versionTLS13}
		_ = s.leaf()
		if len(got) > msgHeaderLen {
			_, _ = s.serverHello(got)
			_, _ = s.keyExchange(got)
		}
		if odd, why := content(side{tr}, side{tr}); odd > 0 {
			t.Errorf("an answer against itself: got %q, want no difference", why)
		}
	})
}
