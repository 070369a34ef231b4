package probe

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Probe is one thing that a stranger may send.
type Probe struct {
	Family string `json:"family"` // what kind of thing it is
	Name   string `json:"name"`   // unique
	Sends  string `json:"sends"`  // what it sends, in a line
	Slow   bool   `json:"slow"`   // it waits until the server ends the connection

	narrow  bool // little fits between the server and us
	replays bool // it needs Options.Recorded
	run     func(*conn)
}

// Probes lists the battery, in the order in which it is run.
func Probes() []Probe {
	families := []struct {
		name string
		list []Probe
	}{
		{"time", slowProbes()},
		{"hello", helloProbes()},
		{"split hello", splitProbes()},
		{"around hello", aroundProbes()},
		{"junk", junkProbes()},
		{"other protocol", protocolProbes()},
		{"plain http", plainProbes()},
		{"broken record", brokenProbes()},
		{"half handshake", halfProbes()},
		{"http/1.1", h1Probes()},
		{"http/2", h2Probes()},
		{"secret path", secretProbes()},
		{"inside tls", insideProbes()},
		{"tcp", tcpProbes()},
		{"replay", replayProbes()},
	}
	var all []Probe
	for _, f := range families {
		for _, p := range f.list {
			p.Family = f.name
			all = append(all, p)
		}
	}
	// The slow ones start first: they are what the battery waits for.
	slices.SortStableFunc(all, func(a, b Probe) int { return cmp.Compare(speed(a), speed(b)) })
	return all
}

func speed(p Probe) int {
	if p.Slow {
		return 0
	}
	return 1
}

// noise is n bytes that look random and are the same in every run.
func noise(n int) []byte {
	r := rand.NewPCG(uint64(n), 0x72656c6179)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint64() >> 32)
	}
	if n > 0 {
		// Not what some protocol begins with: those have probes of their own.
		b[0] = 0xe7
	}
	return b
}

// The small functions that the tables are made of are not inlined, here and in
// the other files: there are some thousands of calls, and inlined they add a
// quarter of a megabyte to the program.

// once is a probe that writes the same bytes at once.
//
//go:noinline
func once(name, sends string, b ...[]byte) Probe {
	all := join(b...)
	return Probe{Name: name, Sends: sends, run: func(c *conn) { c.send(all) }}
}

// plural is "1 byte" or "5 bytes".
//
//go:noinline
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
