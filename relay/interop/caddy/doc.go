// Package caddy compares relay/site with Caddy v2.11.3: what they answer to the
// same requests, hellos and rubbish, byte by byte, and how they close. Whatever
// differs between any two answers of one server is taken out first: dates,
// randoms, key shares, boundaries of multipart bodies.
//
// Three sites of ours stand against Caddy. One gets its connections as they are
// accepted; of the others, 1 and up to 700 bytes have been peeked at. All of them
// carry VLESS for a user, whose path is known to the tests alone: requests that
// are almost hers, at her path or at one like it, are answered as by Caddy.
//
// Caddy is a program of a module of its own, in testdata/caddy, whose go.mod is
// the one that Caddy's release script makes: in one module with the relay, Caddy
// would get the relay's golang.org/x/net, and so another HTTP/2 than it has.
// Building it takes 80 s on two cores the first time, the tests another 180.
// CADDY_BIN names a Caddy that is built already; CADDY_SHOW=1 with -v shows what
// it answers. Only loopback is contacted.
package caddy
