// Package relay is the flow: what happens to a connection from the moment it
// is accepted until it ends.
//
//	listener -> route -> inbound -> auth -> policy -> egress -> splice -> account
//
// That path is also the table of contents of the code:
//
//	listener   listener.go        accept, back off, count sources that have not proved anything
//	route      route.go           ask the candidates, in order, about unread first bytes
//	cover      cover.go           where strangers go, and when it is dialled;
//	                              guest.go, handshakes.go: with the site in this process
//	inbound    relay/socks5, …    the opening of one client protocol; yields a transport.Request
//	auth       auth               is the credential right, may this session begin
//	policy     relay/policy       may the target be reached: by name, then by address
//	egress     relay/policy       resolve and dial
//	splice     relay/splice       join the two connections until both directions end
//	account    auth, flow.go      bytes per user, one status word, one log line
//
// A carrier proves a user and has streams in which an inbound is looked for again.
// FakeTLS is a candidate on the route and has one stream. transport/web is a guest
// of the site in this process: to the flow its visitors are strangers, until the site
// says that a request was claimed ([transport.Guest], guest.go). Its streams are many
// and come from connections that the flow does not know, so each is a connection of
// its own from the opening on: it counts, has limits and ends with a log line
// ([Server.Sink], inside.go, inner.go).
//
// Two kinds of request have no pair to join: datagrams are moved by goroutines of
// their own (packets.go), and a stream of many requests brings each of them here
// again (multiplex.go, inner.go).
//
// [Server] owns the listeners and applies settings; a reload swaps them without
// touching connections that run. Parts are listed once, in cmd/relay/wire.go:
// a new inbound is a folder and a line there.
//
// # Words
//
// One word per thing, in code, logs and documents.
//
//	inbound     a client-facing protocol
//	transport   a disguise between two relays; has a client and a server half
//	entry, exit roles of a relay: where clients connect, where traffic leaves
//	upstream    a relay that we dial
//	front       how a way to an upstream differs from what its link says
//	cover       the site that a stranger sees
//	stranger    whoever is nobody's: no inbound claims the bytes
//	carrier     the server half of a transport, with what is looked for inside: on a route, or in the site
//	stream      what a carrier brings, one or many; on it an inbound has its opening
//	origin      a listener without TLS, for a CDN or a proxy that ends it
//	route       the candidates of a listener, in order: inbounds and carriers
//	peek        look at first bytes that stay unread; prefix: those bytes; verdict: No, Yes, More
//	opening     everything a client says before its payload
//	target      where the client wants to go
//	egress      policy and dialer together
//	splice      to join two connections; flow: a joined pair
//	user, key, credential   who; the one secret; what is derived from it for one protocol
//	source      a client's address, or the prefix it is counted by
//	status word how a connection ended: see transport.Status
//
// # What a stranger learns
//
// A connection that no candidate claims goes to the cover with every byte that
// was read, joined by the core, which passes on how each side ends: byte for
// byte it is the cover that answers. In time as well: junk goes there at once,
// since only a client hello that may go on is waited for, and 20 ms after accept
// the cover is dialled and shown every byte while the route goes on looking. If
// it says anything first, the visitor is a stranger, whatever follows; if the
// hello turns out to be ours, its connection is dropped. Such dials are bounded.
// On a reactor the opening waits for both sides at once (splice.WaitEither), and
// holds no stack while it does; users' openings go ahead of what is done for
// strangers, so a flood of those keeps nobody waiting who has a secret.
//
// On a listener without a cover a stranger is closed without a byte. An inbound
// answers only on a port that is meant to be that protocol's.
package relay
