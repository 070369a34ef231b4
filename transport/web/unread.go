package web

import (
	"errors"
	"slices"
	"time"

	"relay/transport/h2"
)

// A program that takes nothing of its download, as a person has paused it, closes the
// stream's window, and with two more of them the connection's, which is as long as two
// and a half: a browser's windows, which are not ours to choose. So what nobody reads is
// set aside, which opens the connection's window again, up to a limit; beyond that the
// download goes that has waited longest. Programs ask for the rest of one that broke off.
const (
	// asideTime is for how long nobody has read any of what is set aside.
	asideTime = 2 * time.Second
	// leastAside is what a stream holds that is worth it.
	leastAside = 16 << 10
	// mostAside is what streams may hold that nobody reads, all together: ten windows.
	// While they hold more, those end from which nobody has read for unreadTime.
	mostAside  = 64 << 20
	unreadTime = 5 * time.Second
	lookUnread = time.Second
)

var errUnread = errors.New("nobody has taken what comes for seconds, and others need the room")

// download is what is known of a stream whose bytes somebody here reads.
type download struct {
	stream *h2.Stream
	k      *carrier
	unread int
	aside  int       // of these
	read   int64     // bytes, at the last look
	at     time.Time // of the last look at which some had been, or there were none
}

// mind looks after a download until it is left.
func (k *carrier) mind(s *h2.Stream) {
	c := k.client
	c.mu.Lock()
	defer c.mu.Unlock()
	c.downloads[s] = &download{stream: s, k: k, at: time.Now()}
	if !c.minding && c.ctx.Err() == nil {
		c.minding = true
		c.tasks.Go(c.mindAll)
	}
}

// close closes a download, for its owner.
func (f *fetch) close() error {
	c := f.k.client
	c.mu.Lock()
	delete(c.downloads, f.down)
	c.mu.Unlock()
	return f.down.Close()
}

// mindAll looks at the downloads as long as there are any.
func (c *Client) mindAll() {
	look := time.NewTicker(lookUnread)
	defer look.Stop()
	for c.relieve(time.Now()) {
		select {
		case <-c.ctx.Done():
			return
		case <-look.C:
		}
	}
}

// relieve gives connections their windows back, and reports whether there are downloads.
func (c *Client) relieve(now time.Time) bool {
	idle, held, aside, left := c.unread(now)
	room := mostAside - aside
	for _, d := range idle {
		switch more := d.unread - d.aside; {
		case d.unread < leastAside:
		case held > mostAside && now.Sub(d.at) >= unreadTime:
			c.log.Debug("download ended that nobody reads", "held", d.unread)
			d.stream.Fail(errUnread)
			held -= d.unread
			room += d.aside
		case more <= room && d.k.conn.Unread() >= fullDown/2:
			room -= more
			d.stream.SetAside(more)
		}
	}
	return left
}

// unread returns the downloads that nobody reads, the one that has waited longest first,
// how much they hold, how much of all was set aside, and whether there are any downloads.
func (c *Client) unread(now time.Time) (idle []*download, held, aside int, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.downloads {
		unread, set, read := d.stream.Held()
		aside += set
		if unread == 0 || read != d.read {
			d.at = now
		}
		if d.unread, d.aside, d.read = unread, set, read; now.Sub(d.at) >= asideTime {
			idle = append(idle, d)
			held += unread
		}
	}
	slices.SortFunc(idle, func(a, b *download) int { return a.at.Compare(b.at) })
	c.minding = len(c.downloads) > 0
	return idle, held, aside, c.minding
}
