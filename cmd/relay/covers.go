package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"relay/relay/config"
	"relay/transport/faketls"
)

// coversFile keeps in the state folder what was measured last.
const (
	coversFile = "covers.json"
	mostCovers = 1 << 20 // bytes of it
)

// covers are how the cover answers a client's hello, by server name. They outlive
// a restart: that is when all users come at once, and a flight of another size
// than the cover's is a mark.
type covers struct {
	mu    sync.Mutex
	file  string // where they are kept
	cover string // whose they are
	known map[string]faketls.Cover
}

// coversKept is what the file says.
type coversKept struct {
	Cover string                   `json:"cover"`
	Names map[string]faketls.Cover `json:"names"`
}

// coverWord tells one cover from another.
func coverWord(c config.Cover) string {
	if c.Forward != "" {
		return c.Forward
	}
	return "site"
}

// recall takes up what was measured before, of the same cover. A file that is not
// there or not ours is as good as none: all is measured within seconds.
func (c *covers) recall(file, cover string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == file && c.cover == cover {
		return
	}
	c.file, c.cover, c.known = file, cover, nil
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	var kept coversKept
	if json.NewDecoder(io.LimitReader(f, mostCovers)).Decode(&kept) != nil || kept.Cover != cover {
		return
	}
	for name, found := range kept.Names {
		if found.Valid() {
			c.put(name, found)
		}
	}
}

// put is learn under mu, without the file.
func (c *covers) put(name string, found faketls.Cover) {
	if c.known == nil {
		c.known = make(map[string]faketls.Cover)
	}
	c.known[name] = found
}

func (c *covers) of(name string) faketls.Cover {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[name]
}

const (
	coverProbeTime  = 20 * time.Second
	coverProbeAgain = time.Hour
	coverProbeSoon  = 30 * time.Second // after one that failed
	coverLook       = 10 * time.Second // for another certificate
	// coverProbes is how many names are measured at once: each takes seconds, as a
	// server's silence is waited for, and its users are answered with a size of
	// our own until then.
	coverProbes = 8
)

// measure learns how the cover answers for each name, now and from time to time, and
// when look finds another certificate for one; nil: nobody knows them. It goes on with
// what it knew when the cover is down, and asks again soon.
func (c *covers) measure(ctx context.Context, dial func(context.Context) (net.Conn, error), names []string, look func(name string) []byte, log *slog.Logger) {
	told := make([]bool, len(names))
	for {
		before := certificatesOf(names, look)
		var all sync.WaitGroup
		failed, slots := make([]bool, len(names)), make(chan struct{}, coverProbes)
		for i, name := range names {
			slots <- struct{}{}
			all.Go(func() {
				failed[i], told[i] = c.measureOne(ctx, dial, name, told[i], log)
				<-slots
			})
		}
		all.Wait()
		wait := coverProbeAgain
		if slices.Contains(failed, true) {
			wait = coverProbeSoon
		}
		for until := time.Now().Add(wait); time.Now().Before(until) && slices.EqualFunc(before, certificatesOf(names, look), bytes.Equal); {
			pause := time.Until(until)
			if look != nil {
				pause = min(pause, coverLook)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// certificatesOf are what look finds.
func certificatesOf(names []string, look func(name string) []byte) [][]byte {
	var all [][]byte
	for _, name := range names {
		if look != nil {
			all = append(all, look(name))
		}
	}
	return all
}

// measureOne measures one name, and says what is wrong unless that has been told.
func (c *covers) measureOne(ctx context.Context, dial func(context.Context) (net.Conn, error), name string, told bool, log *slog.Logger) (failed, tell bool) {
	limited, cancel := context.WithTimeout(ctx, coverProbeTime)
	defer cancel()
	found, err := faketls.Probe(limited, dial, name)
	switch {
	case ctx.Err() != nil:
		return false, told
	case err != nil && !told:
		log.Warn("the cover's TLS handshake cannot be measured, so FakeTLS answers with a size of its own", "name", name, "error", err)
	case err == nil && found.Retry && !told:
		log.Warn("the cover asks clients for another key share (HelloRetryRequest), which FakeTLS cannot imitate: choose another cover", "name", name)
	}
	if err == nil {
		if kerr := c.learn(name, found); kerr != nil && !told {
			log.Warn("what was measured of the cover cannot be kept, so it is measured anew at the next start", "error", kerr)
		}
	}
	return err != nil, err != nil || found.Retry
}

// learn notes what was measured.
func (c *covers) learn(name string, found faketls.Cover) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(name, found)
	if c.file == "" {
		return nil
	}
	b, err := json.Marshal(coversKept{c.cover, c.known})
	if err != nil {
		return err
	}
	return writeFile(c.file, b)
}
