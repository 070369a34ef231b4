package splice

import "time"

// Whoever closes a socket leaves it to the system, which waits a while for the
// peer's end (tcp_fin_timeout) and then forgets the connection: what comes after
// that is answered with a reset, and the peer was told nothing. A relay whose
// client never ends his half would go on to acknowledge. So the target's socket is
// asked, and the client's goes when it is gone. The end itself does not tell: it
// may be of one half, by a server that goes on reading for some seconds.

const (
	askEvery = 1 // seconds
	// leastLinger, in seconds, is the shortest time in which a socket is
	// forgotten without a reset.
	leastLinger = 1
	// answerTime is how long after a byte a reset may be the answer to it.
	answerTime = time.Second
)

// mayAsk reports whether the target is to be asked, now or after Limits.Ask.
func (p *pair) mayAsk() bool {
	return p.lim.Ask > 0 && !p.asked && p.ways[toNear].over && !p.ways[toFar].over
}

// ask makes TCP ask from now on. The answer, if it is one, is a reset.
func (r *reactor) ask(p *pair) {
	p.asked = true
	if err := setAsking(p.sides[1].fd, askEvery); err != nil {
		p.lim.Ask = 0 // the fin timeout will do
	}
	r.schedule(p)
}

// vanished reports whether a pair ends because the target, long after its end, did
// not know the connection any more.
func (r *reactor) vanished(p *pair) bool {
	return p.asked && p.ways[toNear].over && r.now-p.last > int64(answerTime)
}
