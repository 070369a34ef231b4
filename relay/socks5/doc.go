// Package socks5 is the SOCKS5 inbound: RFC 1928 with no authentication or
// user name and password (RFC 1929), CONNECT only. BIND and UDP ASSOCIATE are
// answered with 0x07.
//
// Lengths are checked on unread bytes before anything is parsed, which also
// makes the replies exact; then the parser and the authenticators of
// armon/go-socks5 read the same bytes as a second opinion. What follows the
// opening stays unread: a client may send greeting, authentication, request
// and payload in one segment.
//
// What clients in the field demand of replies: one write each, nothing after
// it, address type 1 or 4 and a zero reserved byte. The bound address is always
// 0.0.0.0:0, since the real one is nobody's business.
package socks5
