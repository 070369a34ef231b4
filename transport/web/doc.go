// Package web carries streams in the requests of the relay's own web site: XHTTP
// in its three modes and WebSocket, as clients of Xray and sing-box send them.
// Whose a request is its path says, which is a user's secret; everything else is
// left to the site, which answers as if nobody had been asked. SPEC.md beside this
// file has the requests, the limits, and what a censor sees.
//
// [Handler] is the server half, and a claimant of relay/site. Each stream goes to a
// transport.Sink; those of WebSockets are connections of their own by then, which
// the splice core can take; the others are streams of package h2 on connections that
// began with a user's request (direct.go), and live in handlers of net/http elsewhere.
package web
