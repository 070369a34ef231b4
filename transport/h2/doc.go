// Package h2 is either end of an HTTP/2 connection (RFC 9113).
//
// The client's ([NewConn]) speaks as a browser does: the order of its SETTINGS, of
// pseudo-header fields and of what HPACK indexes, its windows and when it renews them
// come from a [Fingerprint].
//
// The server's ([NewServer]) takes over, by a [Fork], where another server has begun: at
// the first request, if it wants that one. Its requests cost no goroutine.
//
// A [Conn] has one goroutine, which reads, and holds no buffer while nothing comes.
// Writes go out in the goroutine of the caller, unless one is under way: then they
// go with the next. Whoever has a Conn closes it; whoever opens a [Stream] closes that.
package h2
