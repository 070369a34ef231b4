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
// # Which path a pair takes
//
// Join takes layers off a connection as far as they let go ([transport.Detachable]).
// What they still do to the bytes is a [transport.Codec], and runs here.
//
//	two TCP sockets, Linux   reactor      the kernel moves the bytes
//	the same with codecs     reactor      one read, the codecs, one write; bulk that
//	                                      only gets headers, the kernel moves
//	anything else            portable     a goroutine for each direction that is
//	                                      not idle
//
// A flow means the same on all of them: one suite of tests runs on every path.
//
// # The reactors
//
// A reactor (reactor_linux.go) is one goroutine that alone touches its pairs: it
// reads, writes and closes their descriptors. There are about as many as
// processors. A pair at rest is two descriptors and one object of some 250 bytes
// (pair_linux.go): no goroutine, no buffer, no pipe, no timer.
//
//	Join ─► duplicate both descriptors, close the originals (the runtime forgets
//	        them), name the pair, add both to epoll ─► the reactor has it
//
//	          ┌──────────────── sleep in the runtime's poller ◄───────────────┐
//	          ▼                                                               │
//	   fetch events ─► take word from others ─► clock ─► move bytes ─► turns left?
//	          ▲         (joined, cut, drain)   (pauses,   (move_linux.go)     │
//	          └─────────────────────────────    timeouts) ◄───────────────────┘
//
// In the runtime's poller a reactor is behind a door, which hears nothing while
// a reactor that has a good deal to do is awake (knock_linux.go).
//
// An event carries the slot of its pair and a name that is never used twice:
// what epoll fetched before a pair ended means nobody afterwards. Descriptors
// cannot be mixed up, as nobody else closes them. Whoever joins holds the lock
// that the reactor takes between fetching events and looking at them, so there
// is no event for a pair that the reactor does not know yet.
//
// Small reads pass through one buffer of the reactor. A read that fills it is
// taken for bulk: from then on the sink is asked how much room it has, and
// splice(2) moves that much through the reactor's pipe, which is empty again
// afterwards. A sink that takes no more stops the reading behind it, and the flow
// holds nothing but what its sockets hold. The rest of a small write that did
// not fit is kept, at its own size. Nobody moves more than a turn at a time.
//
// A reactor also accepts ([Core.Serve]) and runs what comes before a flow: an
// opening is a task (task_linux.go), a coroutine that the reactor's goroutine
// switches to when its socket is ready and that gives way where it would wait.
// The pair exists from the moment it is accepted; when the task joins it with
// what it has dialled ([Dial]), not a system call is made. A task that has to wait
// for anything else leaves, with its sockets, for a goroutine.
//
// A task that keeps its state elsewhere need not wait on its stack (park_linux.go):
// it ends, and begins anew when there is something to read ([Park]), when all who
// do not give way have had their turn ([Yield]), or in a goroutine ([Leave]).
//
// The first reactor does everything until it is busy; then it gives pairs away,
// if a processor is free, and they come home afterwards (share_linux.go).
//
// # The portable path
//
// One way is a pump (pump.go): wait until the source is readable, read into a
// pooled buffer, write, give the buffer back.
//
// A direction in which nothing has moved for two ticks, and which waits for a socket
// below its layers, is parked (idle.go): the sweeper makes its read fail with a
// deadline, its goroutine ends, and the lookout (lookout_linux.go), one epoll
// descriptor and one goroutine for all, starts another one when the socket can be read
// or the flow has ended. A layer that names what is below it must be able to go on
// after a time-out.
//
// # Ends
//
// An error on a source resets the other side, so that a reset stays a reset. A
// direction that cannot write ends by itself: what the other way still carries
// is delivered first. Linux tells of a reset once, to a read or to a write, and
// splice(2) can lose it; both paths remember who was told.
//
// A target that has closed is forgotten by its system after a while, whether or
// not the client ends his half; what he sends then is answered with a reset. With
// Limits.Ask the target's socket is asked until it is gone, and the client's is
// then forgotten in the same way, and not before: ask_linux.go.
//
// A pump that waits for its sink does not hear of its source. A layer that knows that
// the client has gone says so to the sweeper (Lost), and a flow whose connections are
// closed has ended for its owner, though a write may last: HTTP/2 has one connection
// for many streams, and a client that reads none of it.
//
// The idle timeout holds while both directions are open, the fin timeout once
// one has ended; both count idleness, not total time, and a pause that the
// account asked for is no idleness. A reactor files its pairs in a wheel by their
// deadline and looks at each once in an idle time, however much it moves; the
// portable path has one sweeper for all.
package splice
