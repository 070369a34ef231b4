package relay

import (
	"sync/atomic"
	"time"

	"relay/transport"
)

// stats counts ends by status word, and what those moved who saw the cover.
type stats struct {
	ends                       [len(transport.Statuses)]atomic.Int64
	strangersUp, strangersDown atomic.Int64
}

func (s *stats) end(st transport.Status) {
	for i, w := range transport.Statuses {
		if w == st {
			s.ends[i].Add(1)
			return
		}
	}
}

// Snapshot is the state of a Server at a moment.
type Snapshot struct {
	Began   time.Time
	Live    int   // connections, in opening or joined
	Flows   int   // joined pairs
	Packets int   // connections that carry datagrams
	Dropped int64 // datagrams: not allowed, over a limit, or not sendable
	Ends    map[transport.Status]int64
	Listens []string
	// Strangers are with the cover now; the bytes are those of others who were,
	// as each is counted when it ends.
	Strangers                  int
	StrangersUp, StrangersDown int64
	// Borrowed is what they hold beside their connections; see [transport.Guest].
	Borrowed int
}

// Snapshot returns the state of the server.
func (s *Server) Snapshot() Snapshot {
	out := Snapshot{
		Began:   s.began,
		Live:    int(s.live.Load()),
		Flows:   s.splice.Len(),
		Packets: int(s.packets.Load()),
		Dropped: s.dropped.Load(),
		Ends:    make(map[transport.Status]int64, len(transport.Statuses)),

		Strangers:     int(s.strangers.Load()),
		StrangersUp:   s.stats.strangersUp.Load(),
		StrangersDown: s.stats.strangersDown.Load(),
		Borrowed:      s.sources.lent(),
	}
	for i, w := range transport.Statuses {
		out.Ends[w] = s.stats.ends[i].Load()
	}
	for _, a := range s.Addrs() {
		out.Listens = append(out.Listens, a.String())
	}
	return out
}
