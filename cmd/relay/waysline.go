package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"relay/relay/upstream"
)

// waysLine shows how the upstreams are: on a terminal in one line that changes, and
// elsewhere with a line for each change of way or trouble.
type waysLine struct {
	w    io.Writer
	set  *upstream.Set
	json bool
	tty  bool
	done chan struct{}
	wg   sync.WaitGroup
	err  error

	said     string // the last line
	up, down int64
	at       time.Time
}

// progressEach is how often it looks.
const progressEach = time.Second

func newWaysLine(w io.Writer, set *upstream.Set, asJSON bool) *waysLine {
	return &waysLine{w: w, set: set, json: asJSON, tty: isTerminal(w) && !asJSON, done: make(chan struct{}), at: time.Now()}
}

func (p *waysLine) start() {
	p.wg.Go(func() {
		t := time.NewTicker(progressEach)
		defer t.Stop()
		for {
			select {
			case <-p.done:
				return
			case <-t.C:
				if p.err == nil {
					p.err = p.look(time.Now())
				}
			}
		}
	})
}

// stop ends it and returns the first error of writing.
func (p *waysLine) stop() error {
	close(p.done)
	p.wg.Wait()
	if p.tty {
		fmt.Fprintln(p.w)
	}
	return p.err
}

// waysReport is a line as JSON.
type waysReport struct {
	Time     time.Time        `json:"time"`
	UpRate   int64            `json:"up_rate"` // bytes a second
	DownRate int64            `json:"down_rate"`
	Ways     []upstream.State `json:"ways"`
}

func (p *waysLine) look(now time.Time) error {
	up, down := p.set.Bytes()
	each := now.Sub(p.at).Seconds()
	rate := func(n int64) int64 { return int64(float64(n) / max(each, 0.001)) }
	r := waysReport{Time: now.UTC().Truncate(time.Second), UpRate: rate(up - p.up), DownRate: rate(down - p.down), Ways: p.set.States()}
	p.up, p.down, p.at = up, down, now
	line := describe(r.Ways)
	switch {
	case p.tty:
		_, err := fmt.Fprintf(p.w, "\r\x1b[K%s, %s/s up, %s/s down", line, human(r.UpRate), human(r.DownRate))
		return err
	case line == p.said:
		return nil
	}
	p.said = line
	if p.json {
		return json.NewEncoder(p.w).Encode(r)
	}
	_, err := fmt.Fprintln(p.w, line)
	return err
}

// describe says in a line which way is in use, and what went wrong last.
func describe(ways []upstream.State) string {
	var live []string
	var last upstream.State
	for _, w := range ways {
		if w.Live {
			live = append(live, w.Name)
		}
		if w.Failed.After(last.Failed) {
			last = w
		}
	}
	line := "not connected"
	switch {
	case len(live) > 0:
		line = "connected by " + strings.Join(live, " and ")
	case last.Trouble == "":
		// A connection on which nothing is said would be one that no browser makes.
		line += ": it connects when a program asks"
	}
	if last.Trouble != "" {
		line += fmt.Sprintf("; last trouble %s: %s: %s", last.Failed.Local().Format(time.TimeOnly), last.Name, last.Trouble)
	}
	return line
}
