// Package hello reads the TLS ClientHello that a connection begins with, for
// disguises that must judge it before anybody owns the connection. It decides
// nothing: what a hello proves is each disguise's own business.
//
// Everything here works on bytes that a stranger chose. It is linear in their
// number, allocates nothing, and refuses whatever a TLS library would refuse
// for its form (RFC 8446, Sections 4.1.2, 4.2 and 5.1).
package hello
