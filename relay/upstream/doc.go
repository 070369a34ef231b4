// Package upstream is the way out of an entry: through other relays. A [Set] takes
// the place of the direct egress. It judges targets as they are written and never
// resolves one, chooses among the ways to the relays that a configuration names, and
// goes to the next where one is dead, frozen or refuses.
//
// A [Way] is one disguise with one front to one relay; this package knows none of
// them. What it wants of a way: Ready makes the connection that streams need, the
// error of a stream whose connection was lost matches [transport.ErrCarrier], and a
// stream says when the other side has begun with it.
//
// A stream that has not begun moves to another way with what was written to it. One
// that has begun ends with an error: its bytes are with a target that cannot be asked
// again. Datagrams go on by another way. Nothing goes to targets directly, unless a Set
// is made with a way to do so.
//
// A way that fails is left alone for longer each time, until a stream has been answered
// on it: that it could be connected says little. What works is not left for what might
// be better, since each attempt can be seen; it is only at a failure, or in another
// network, that the order counts: how often a way worked there of late, then as written.
//
// A way with Probe set is asked now and then while it is idle and others are in use, and
// taken again if it was written before those. Where streams end without a byte, one after
// the other, the way is asked whether its relay knows the user at all.
package upstream
