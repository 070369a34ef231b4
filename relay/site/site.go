//lint:file-ignore SA1019 what takes its place is the other HTTP/2, until Go 1.27 makes them one

package site

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"relay/transport"
)

// The limits are those of Caddy v2.11.3; zero values of http.Server and of
// http2.Server are defaults there too: 1 MiB of headers, 250 streams.
const (
	readHeaderTimeout = time.Minute
	idleTimeout       = 5 * time.Minute
)

// Site is a web site: its names, certificates, TLS, HTTP/1.1 and HTTP/2, and a folder or
// an upstream. It owns the connections that it is given and accepts none.
type Site struct {
	names        map[string]bool // lower case
	claims       []Claim
	originClaims []Claim
	challenge    func(http.ResponseWriter, *http.Request) bool
	content      content
	source       certificates
	tls          *tls.Config

	secure, plain, bare door
	users               *users
	loops               sync.WaitGroup // the accept loops of the doors

	mu    sync.Mutex
	taken list.List // of *taken: connections that have not been closed yet
}

// content is what a site consists of.
type content interface {
	// answer answers the request, or returns the status of an answer without a
	// body, which is then sent with the headers set so far. Without room
	// nothing is to be opened.
	answer(w http.ResponseWriter, r *http.Request, room bool) (status int)
	close()
}

// door is an HTTP server with the queue that feeds it.
type door struct {
	server *http.Server
	queue  *queue
}

// New makes a site. Shutdown ends it.
func New(o Options) (*Site, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	source, err := newCertificates(&o, log)
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	s := &Site{
		names:        make(map[string]bool, len(o.Names)),
		claims:       o.Claims,
		originClaims: o.OriginClaims,
		challenge:    o.Challenge,
		source:       source,
		tls:          newTLSConfig(source.get),
	}
	for _, name := range o.Names {
		s.names[strings.ToLower(name)] = true
	}
	if o.Upstream != nil {
		s.content = newProxy(upstreamAddress(o.Upstream))
	} else if s.content, err = openFolder(o.Folder); err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	s.users = newUsers(new(http2.Server), log)
	s.secure = s.open(s.answer, true, s.users, log)
	s.plain = s.open(s.redirect, false, nil, log)
	s.bare = s.open(s.origin, true, nil, log)
	return s, nil
}

// takenKey finds the connection in the context of a request: http.Server has no
// other way to tell.
type takenKey struct{}

func withTaken(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, takenKey{}, c)
}

// open starts one of the servers. HTTP/2 comes from golang.org/x/net, not
// from net/http, as in Caddy: the two send different SETTINGS frames. HTTP/2
// without TLS is on, again as in Caddy, whose port 80 speaks it to clients that
// know it beforehand. all says that h sees OPTIONS *, too; see options. u, if not nil,
// gets users' connections.
func (s *Site) open(h http.HandlerFunc, all bool, u *users, log *slog.Logger) door {
	d := door{
		queue: newQueue(),
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: readHeaderTimeout,
			IdleTimeout:       idleTimeout,
			Protocols:         new(http.Protocols),
			ConnContext:       withTaken,

			DisableGeneralOptionsHandler: all,

			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
	d.server.Protocols.SetHTTP1(true)
	d.server.Protocols.SetUnencryptedHTTP2(true)
	// The error is about cipher suites of a TLSConfig, which there is none of.
	configure := func(v *http2.Server) { _ = http2.ConfigureServer(d.server, v) }
	if u == nil {
		configure(new(http2.Server))
	} else {
		configure(u.server)
		d.server.TLSNextProto[http2.NextProtoTLS] = s.serveHTTP2
		d.server.RegisterOnShutdown(u.leave)
	}
	s.loops.Go(func() { _ = d.server.Serve(d.queue) })
	return d
}

// Serve takes over a connection that was accepted at began, of which any number
// of bytes may have been peeked at, and serves the site on it, over TLS. It
// returns before that is over, so that a visitor has one goroutine, and tells g. The
// time-outs count from began, so that a stranger cannot see for how long others have
// looked at him.
func (s *Site) Serve(c transport.Conn, began time.Time, g transport.Guest) {
	s.serve(s.secure, c, began, g, func(t *taken) net.Conn { return tls.Server(t, s.tls) })
}

// ServeOrigin is Serve for a connection without TLS, from a CDN or a proxy in front
// of the relay: the same site, and Options.OriginClaims are asked.
func (s *Site) ServeOrigin(c transport.Conn, began time.Time, g transport.Guest) {
	s.serve(s.bare, c, began, g, func(t *taken) net.Conn { return t })
}

// ServePlain is Serve for a connection to port 80: requests are redirected to
// https, unless Options.Challenge answers. Nobody's claim is asked.
func (s *Site) ServePlain(c transport.Conn, began time.Time, g transport.Guest) {
	s.serve(s.plain, c, began, g, func(t *taken) net.Conn {
		// net/http reads a byte ahead of its answer: of a piece, that had not come.
		t.pieces = []int{len(t.unread)}
		return t
	})
}

func (s *Site) serve(d door, c transport.Conn, began time.Time, g transport.Guest, layer func(*taken) net.Conn) {
	t := take(c, began, g)
	if err := transport.MayWait(t.Conn); err != nil {
		_ = t.Close()
		return
	}
	t.keepAlive()
	s.mu.Lock()
	place := s.taken.PushBack(t)
	t.leave = func() {
		s.mu.Lock()
		s.taken.Remove(place)
		s.mu.Unlock()
	}
	s.mu.Unlock()
	if !d.queue.put(layer(t)) {
		// What a listener that has closed does to those in its queue.
		_ = transport.Abort(t.Conn)
		_ = t.Close()
	}
}

// Shutdown ends the site: no connection is taken any more, idle ones are
// closed, and busy ones when they have been answered, or when ctx ends, whose
// error is then returned. Connections that have left HTTP are closed last.
func (s *Site) Shutdown(ctx context.Context) error {
	var ends sync.WaitGroup
	doors := []door{s.secure, s.plain, s.bare}
	errs := make([]error, len(doors))
	for i, d := range doors {
		ends.Go(func() {
			if errs[i] = d.server.Shutdown(ctx); errs[i] != nil {
				_ = d.server.Close()
			}
		})
	}
	ends.Wait()
	s.loops.Wait()
	s.mu.Lock()
	var left []*taken
	for e := s.taken.Front(); e != nil; e = e.Next() {
		left = append(left, e.Value.(*taken))
	}
	s.mu.Unlock()
	for _, t := range left {
		_ = t.Close()
	}
	s.content.close()
	return errors.Join(errs...)
}

// Certificate returns the certificate in use for the first name, for links that
// carry its pin. It is nil when Options.GetCertificate chooses.
func (s *Site) Certificate() *tls.Certificate { return s.source.current() }

// LeafOf returns the certificate, in DER, that a client of today gets for a name; nil
// if there is none. It looks at the files as a handshake does.
func (s *Site) LeafOf(name string) []byte {
	c, err := s.source.get(&tls.ClientHelloInfo{
		ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SupportedCurves:  []tls.CurveID{tls.X25519, tls.CurveP256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.PKCS1WithSHA256},
	})
	if err != nil || len(c.Certificate) == 0 {
		return nil
	}
	return c.Certificate[0]
}
