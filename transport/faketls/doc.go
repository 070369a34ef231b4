// Package faketls is the disguise of Telegram's MTProto proxy with "ee" secrets:
// a client that looks like a browser opening a TLS 1.3 connection, and a server
// that looks like the site it visits. Nothing is encrypted by it: what it
// carries is obfuscated MTProto. SPEC.md beside this file has the bytes, what
// a prober learns, and why things are as they are.
//
// [Server] is the half that the relay needs. [Client] is for tests and tools; the
// clients that matter are Telegram's own.
package faketls
