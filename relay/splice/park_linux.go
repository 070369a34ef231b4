package splice

import "relay/transport"

// Park lets a task that would wait for near, and for far if that is not nil, end
// instead: if it returns true, the task returns at once, and begins anew when one
// of them can be read or has ended, or at near's deadline. Until then it has no
// stack. False says that there is something to read, or that near's deadline has
// come, or that they are not on a reactor.
func Park(near, far transport.Conn) bool {
	n := onReactor(near)
	if n == nil || n.i != 0 || n.t.check(n.until) != nil || n.hasInput() {
		return false
	}
	if far != nil {
		if f := onReactor(far); f == nil || f.t != n.t || f.hasInput() {
			return false
		}
	}
	n.t.parked = true
	return true
}

// HasInput reports whether there is something to read, or an end, on a connection
// of a task. It asks the system; false where there is no reactor.
func HasInput(c transport.Conn) bool {
	s := onReactor(c)
	return s != nil && pending(s.side().fd)
}

// Drained reports whether all that has come on a connection of a task has been read.
// It asks the system; false where there is no reactor.
func Drained(c transport.Conn) bool {
	s := onReactor(c)
	return s != nil && !pending(s.side().fd)
}

// Gone reports whether a connection of a task is known to have been ended by its peer, or
// broken off; false where there is no reactor.
func Gone(c transport.Conn) bool {
	s := onReactor(c)
	return s != nil && s.side().gone
}

// Yield lets a task give way to everybody who is not behind others himself: if it
// returns true, the task returns at once and begins anew when there is time. What
// happens meanwhile on its connections waits. False: near is not on a reactor.
func Yield(near transport.Conn) bool {
	n := onReactor(near)
	if n == nil || n.i != 0 || n.t.check(0) != nil {
		return false
	}
	n.t.parked, n.t.behind = true, true
	return true
}

// Hold lets a task wait for [Resume], whatever happens on its connections and
// however long it takes: if it returns true, the task returns at once, and begins
// anew then. It may begin anew earlier. False: near is not on a reactor.
func Hold(near transport.Conn) bool {
	n := onReactor(near)
	if n == nil || n.i != 0 || n.t.check(0) != nil {
		return false
	}
	n.t.parked, n.t.held = true, true
	return true
}

// Resume lets the task that near belongs to begin anew, if it is held. Anyone may
// call it at any time.
func Resume(near transport.Conn) {
	if s, ok := near.(*Socket); ok {
		s.t.nudge()
	}
}

// Leave makes the task leave the reactor for good, with less than
// [transport.MayWait] needs: if it returns true, the task returns at once and
// begins anew in a goroutine. False says that near has left already, or is not on
// a reactor, or cannot leave, which whatever is tried on it next will tell.
func Leave(near transport.Conn) bool {
	n := onReactor(near)
	if n == nil || n.i != 0 || n.t.leave() != nil {
		return false
	}
	n.t.parked = true
	return true
}

// rest keeps a parked task until its time has come.
func (t *task) rest() {
	t.parked = false
	if t.off {
		go func() {
			_ = t.left()
			t.serve()
		}()
		return
	}
	if t.run = t.serve; t.behind {
		t.due(0) // a deadline gets nobody ahead of others
		t.r.later.push(t)
		return
	}
	if t.held {
		t.held = false
		t.due(0)
		return
	}
	t.due(t.near.until)
}
