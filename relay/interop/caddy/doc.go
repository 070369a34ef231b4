// Package caddy compares relay/site with Caddy v2.11.3, byte by byte: what they
// answer to the same requests, hellos and rubbish, and how they close.
//
// Caddy is a program of a module of its own, in testdata/caddy, whose go.mod is
// the one that Caddy's release script makes: in one module with the relay, Caddy
// would get the relay's golang.org/x/net, and so another HTTP/2 than it has.
package caddy
