// Package site is the web site that a stranger sees, served by the relay itself:
// certificates, TLS, HTTP/1.1 and HTTP/2, and a folder of files or an upstream
// web server.
//
// A [Site] listens nowhere. [Site.Serve] takes over connections that somebody
// else has accepted, and of which he may have peeked at any number of bytes; the
// site closes them. On TLS each request is first shown to the claimants, in
// order (see [Claim]): that is how what is for the relay is told from what is for
// the site. Nobody's claim leaves a trace in the answers to what he left alone.
// Whoever gave the connection away is told of the first request that was claimed
// (transport.Guest), as it is a user's from then on, and no stranger's.
//
// A connection over HTTP/2 whose first request was claimed leaves net/http for package h2
// (http2.go), which serves a [Streamer] without a goroutine, and the rest of the site to
// whoever asks for it on such a connection.
//
// [Site.ServeOrigin] is the same for connections without TLS, from a CDN or a proxy,
// with claimants of its own, since they learn the client's address from headers.
//
// # One more Caddy
//
// The site is one more Caddy v2.11.3, as its releases are built, with this
// Caddyfile, and nothing in it is a matter of taste:
//
//	{
//		servers {
//			protocols h1 h2
//		}
//	}
//	www.example.org {
//		tls cert.pem key.pem
//		root * folder
//		file_server                   # or: reverse_proxy 127.0.0.1:8080
//	}
//
// Of several names each has its own lines like these, with the same folder; "tls"
// is there for certificates from files, as many times as there are some for the
// name. So the name in the handshake chooses the certificate and nothing else, and
// the Host of a request is what is answered to.
//
// A web server that is met this often says nothing about who runs it, and it is
// made of the same crypto/tls and net/http as the relay: alerts, limits for
// odd records, and the bytes at which a broken client gets a reset are the
// same without being imitated. What has to be done for it:
//
//   - Caddy's settings: tls.go, the time-outs in site.go.
//   - Its HTTP/2 is that of golang.org/x/net, whose SETTINGS frame net/http does not send.
//   - Its file server, redirects, proxy and empty answers: answer.go, folder.go, proxy.go.
//   - Nobody must see that the connection was accepted elsewhere: conn.go.
//   - While there is no certificate yet, its handshakes end with internal_error: acme.go.
//
// Caddy with its own settings also speaks HTTP/3 and says so in Alt-Svc. The
// relay does not; a Caddy without it has the protocols line above, or a
// firewall and no such header.
//
// # Certificates by ACME
//
// An [ACME] gets certificates through certmagic, as Caddy does, one for each name,
// from the authorities of [ACMEOptions], and renews them. It is not part of a Site, which
// takes its GetCertificate and Challenge: sites come and go with each reload, an
// order at an authority must not. certmagic keeps the store, the keys, the time
// of renewal (RFC 9773) and OCSP responses; the relay's own are what would have
// left goroutines or ports behind, or asked the network for more than needed:
// the loop (acme_renew.go), the exchange with an authority over acmez and the
// accounts (acme_issuer.go), challenges (acme_solver.go, acme_hook.go) and the
// folder (acme_store.go). Nothing else than the authorities and the OCSP
// responder of the certificate is contacted.
//
// The folder holds
//
//	accounts/AUTHORITY/EMAIL.json, .key
//	certificates/AUTHORITY/NAME/NAME.crt, .key, .json
//	ocsp/…
//	current.pem    chains and keys in use, for a start without an authority
//
// relay/interop/acme runs it against Pebble, and relay/interop/caddy runs that Caddy and compares: requests over HTTP/1, HTTP/2
// and port 80, flights and alerts of TLS, and how connections end.
//
// # Differences
//
// These are known, and are not imitated:
//
//   - golang.org/x/net is newer here (v0.62.0; Caddy's is v0.53.0). Over HTTP/2
//     it refuses, by RST_STREAM, an :authority that is no host, a Host header
//     other than it, and a :path without slash, all of which Caddy answers. It
//     notices later when SETTINGS_INITIAL_WINDOW_SIZE makes a window overflow. Of an
//     upload of 4 kB and more that is not read, it gives the window back before the
//     answer, not behind it, which every POST of that length shows.
//     With one version on both sides no difference was found. A Caddy that was
//     built with newer modules, as plugins may require, behaves like this one.
//   - A program whose go.mod says go 1.26 answers CONNECT ::1:443 and the like with
//     another error than Caddy, whose go.mod says 1.25. The program that serves
//     the site should say //go:debug urlstrictcolons=0.
//   - Caddy's releases are built with the Go of their day; crypto/tls and net/http
//     may change with any other.
//   - Links that lead out of the folder are not found (404), nor are absolute ones;
//     those of more than eight steps are bad requests (400). Caddy follows them.
//   - A self-signed certificate is one of ten years with no other behind it; those of
//     Caddy's "tls internal" last twelve hours and come with an intermediate one,
//     1,280 bytes of handshake and not 752.
//   - Certificates from files are served without an OCSP response; Caddy staples
//     one if the certificate names a responder, which those of Let's Encrypt no
//     longer do. Certificates by ACME have theirs.
//   - A path is compared with the folder's own path to find out whether it is too
//     long for Linux, as Caddy's would be; the limit of a folder of Caddy's
//     elsewhere is another.
//   - The same machine answers sooner: by 0.2 ms for a handshake, by 0.15 ms for a
//     small file (medians, on a machine where those take 2.0 and 0.35 ms).
//   - TCP options are the listener's. Keep-alives are Caddy's, those of package net,
//     a user's of transport/web too. What the route claims before has others from
//     then on: such probes would wake a sleeping phone.
//   - Caddy hides its Caddyfile if that lies in the folder. There is none here.
//   - Windows: Caddy refuses paths with colons and short names; os.Root has
//     rules of its own.
package site
