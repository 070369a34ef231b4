// Package httpconnect is the HTTP proxy inbound: CONNECT (RFC 9110, Section
// 9.3.6) and requests in absolute form (RFC 9112, Section 3.2.2), with Basic
// authentication (RFC 7617).
//
// A forwarded request gets a connection of its own: it goes out in origin form
// with "Connection: close", its body framed as the client framed it, and
// nothing that follows the body reaches the target. That keeps the proxy
// password and the next request, which may be for somebody else, away from it.
package httpconnect
