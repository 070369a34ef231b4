package mtproto

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"relay/relay/policy"
)

// State is what is known of the ways to a data centre.
type State struct {
	ID    int       // as clients ask for it: negative for a connection that is for media only
	Way   Way       // what a client is sent to now
	Tried bool      // Way has answered or failed
	Up    bool      // it answered, when somebody tried it last
	Since time.Time // from when on, if it was tried

	// How many there are, and how many of them fail; without those of a network
	// that this machine does not have, such as IPv6.
	Ways, Down int
	Last       Failure // of these ways, the last one; the zero value if there was none
}

// Failure is that a way could not be used. It says neither where nor in whose
// words: a server's may be anything.
type Failure struct {
	At  time.Time
	Why string // one of the words below
}

// Why a way cannot be used.
const (
	WhyRefused     = "refused"     // nobody listens, or somebody on the way says so
	WhyTimeout     = "timeout"     // no answer
	WhySilent      = "silent"      // connections are taken, and nothing comes
	WhyUnreachable = "unreachable" // no route to the host or to its network
	WhyName        = "name"        // it leads nowhere, or where it must not
	WhyReset       = "reset"       // in the middle of a handshake
	WhyCertificate = "certificate" // it is not the server's
	WhyTLS         = "tls"
	WhyWebSocket   = "websocket" // TLS is well; what is behind it serves something else
	WhyOther       = "other"
)

// why finds the word.
func why(err error) string {
	var cert *tls.CertificateVerificationError
	for _, w := range []struct {
		is   bool
		word string
	}{
		{errors.Is(err, policy.ErrRefused), WhyRefused},
		{errors.Is(err, policy.ErrTimeout) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded), WhyTimeout},
		{errors.Is(err, errSilent), WhySilent},
		{errors.Is(err, policy.ErrNetUnreachable) || errors.Is(err, policy.ErrHostUnreachable), WhyUnreachable},
		{errors.Is(err, policy.ErrNotFound) || errors.Is(err, policy.ErrResolve) || errors.Is(err, policy.ErrDenied), WhyName},
		{errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF), WhyReset},
		{errors.As(err, &cert), WhyCertificate},
		{errors.Is(err, errTLS), WhyTLS},
		{errors.Is(err, errWebSocket), WhyWebSocket},
	} {
		if w.is {
			return w.word
		}
	}
	return WhyOther
}

// States are the data centres that clients have asked for within a day, by
// number. Nothing is known of others: nobody tries them.
func (t *Table) States() []State {
	h := t.health
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var out []State
	for id, asked := range h.asked {
		ways := t.ways(id)
		if len(ways) == 0 || now.Sub(asked) > askedTime {
			continue
		}
		s := State{ID: int(id), Way: h.best(ways, now, false)}
		// A network that this machine does not have is nobody's news, unless there is no other.
		news := slices.DeleteFunc(slices.Clone(ways), func(w Way) bool { o := h.down[w]; return o != nil && !o.told })
		if len(news) == 0 {
			news = ways
		}
		s.Ways = len(news)
		for _, w := range news {
			if h.down[w] != nil {
				s.Down++
			}
			if f := h.failures[w]; f.At.After(s.Last.At) {
				s.Last = f
			}
		}
		if o := h.down[s.Way]; o != nil {
			s.Tried, s.Since = true, o.began
		} else if s.Since, s.Up = h.up[s.Way]; s.Up {
			s.Tried = true
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b State) int {
		return cmp.Or(cmp.Compare(max(a.ID, -a.ID), max(b.ID, -b.ID)), cmp.Compare(b.ID, a.ID))
	})
	return out
}
