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
// again. Nothing goes to targets directly, unless a Set is made with a way to do so.
package upstream
