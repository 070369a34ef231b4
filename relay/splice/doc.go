// Package splice joins two connections until both directions have ended.
//
// A [Core] is handed a pair and owns both connections from then on: it closes
// them, whatever happens, and says once how it ended. The goroutine that
// opened the pair is free to end.
//
//	              EOF: close the write half of the other side
//	both open ──────────────────────────────────────► half closed
//	    │                                                  │
//	    │ idle timeout · error · Cut                       │ EOF · fin timeout · error · Cut
//	    ▼                                                  ▼
//	  ended ◄──────────────────────────────────────────  ended
//
// One way is a pump: wait until the source is readable, read into a pooled
// buffer, write, give the buffer back. A pump that waits for its source or
// pauses holds no buffer; one that waits for room in its sink does. Where both
// ends are TCP sockets on Linux, a read that fills the buffer switches the pump
// to splice(2): the kernel moves the bytes through a pipe that is borrowed only
// while bytes are in it; a small move switches back, because for a lone message
// copying is cheaper.
//
// A pump that meets an error on its source resets the other side, so that a
// reset stays a reset. A pump that cannot write ends by itself: what the other
// way still carries is delivered first. Linux tells of a reset once, to a read
// or to a write; a pump whose source has come to an end therefore asks whether
// the other pump has been told (see pump.sourceWasReset).
//
// Timeouts are kept by one sweeper for all flows: a pump only stores the coarse
// time of its last movement. The idle timeout holds while both directions are
// open, the fin timeout once one has ended; both count idleness, not total time,
// and a pause that the account asked for is no idleness.
package splice
