// Package auth knows users: their keys and what is derived from them, whether
// a credential is right, how much a user may use and has used, and which
// sessions are live. It opens no socket.
//
// One user has one key. What a client presents is a credential:
//
//	HKDF-SHA256(user key, salt = realm, info = "relay/1" ‖ label ‖ generation)
//
// (RFC 5869). The realm is a random value of this relay, the label names the
// protocol ("socks5", "http"), and the generation, four bytes big-endian, is
// kept per user and label, so that one link can be replaced and the others
// stay. A record may hold an explicit value for a label, which wins: secrets
// of an older installation move in unchanged.
//
// [Store] keeps records and counters in one file. [Users] answers the flow from
// it, and is where a change takes effect on live sessions.
package auth
