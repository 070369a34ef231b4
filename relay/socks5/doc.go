// Package socks5 is the SOCKS5 inbound: RFC 1928 with no authentication or
// user name and password (RFC 1929), CONNECT, and UDP ASSOCIATE where [Options] say
// so. BIND is answered with 0x07.
//
// Lengths are checked on unread bytes before anything is parsed, which also
// makes the replies exact; then the parser and the authenticators of
// armon/go-socks5 read the same bytes as a second opinion. What follows the
// opening stays unread: a client may send greeting, authentication, request
// and payload in one segment.
//
// What clients in the field demand of replies: one write each, nothing after
// it, address type 1 or 4 and a zero reserved byte. The bound address of a CONNECT
// is always 0.0.0.0:0, since the real one is nobody's business.
//
// # Datagrams
//
// An association (RFC 1928, Section 7) has a socket at the address where its TCP
// connection has arrived, and lives as long as that. It is for users only: nobody
// could be cut off for what others send. It takes datagrams from the address of the
// connection alone, and from the port of the first one, or of the one that the
// request names beside that address; it sends to nobody else, and before the first
// datagram to nobody at all, so it answers no forged source. Fragments are dropped.
// Where datagrams go, and who may answer, is the egress's to say.
package socks5
