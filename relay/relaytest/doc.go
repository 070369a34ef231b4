// Package relaytest is test support, imported by _test files only.
//
// [Network] is TCP in memory: half-close, deadlines, backpressure, resets and
// addresses behave as on Linux, without a goroutine per connection, so that it
// works inside a testing/synctest bubble where time is fake and a blocked read
// is not a reason to wait. [Pipe] is one connection of it.
//
// [LeakCheck] fails a test that leaves goroutines of ours behind.
package relaytest
