// Package httpconnect is the HTTP proxy inbound: CONNECT (RFC 9110, Section
// 9.3.6) and requests in absolute form (RFC 9112, Section 3.2.2), with Basic
// authentication (RFC 7617).
//
// A forwarded request gets a connection of its own: it goes out in origin form
// with "Connection: close", and nothing that follows the body reaches the
// target. That keeps the proxy password and the next request, which may be for
// somebody else, away from it.
//
// Proxy and target must see the same request, or one can be hidden in another
// (RFC 9112, Section 11.2). So a header that two readers could take differently
// is refused, folded lines and lone line feeds included; net/http parses what
// is left; and Host, the length of the body and the framing of chunks are
// written anew from what we dial and count by. Chunk extensions and trailer
// fields are dropped on the way. Method, path, query and body stay byte for
// byte; fields keep their values, in alphabetical order. Responses are not
// looked at.
package httpconnect
