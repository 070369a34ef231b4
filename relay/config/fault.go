package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with the config, told so that a person can mend it.
type Fault struct {
	File    string
	Line    int    // 1 is the first; 0 is the whole file
	Key     string // "listen[0].address"; empty where there is none
	Problem string
	Hint    string // what to do about it; may be empty
}

// String returns one line:
//
//	relay.toml:12: listen[0].inbounds: unknown inbound "sock5" (did you mean "socks5"?)
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Problem)
	if f.Hint != "" {
		b.WriteString(" (" + f.Hint + ")")
	}
	return b.String()
}

// Faults is everything wrong with one file, sorted by line. As an error it is
// one line for each.
type Faults []Fault

// Error joins the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// maxFaults bounds the report: a person mends a few and tries again, and a
// file of garbage must not become a hundred thousand lines in the journal.
const maxFaults = 100

// collector gathers the faults of one file.
type collector struct {
	file    string
	faults  Faults
	dropped int
	// bad holds the keys that have a fault, above the keys they lie in. A
	// check does not speak again about a key whose value was never read.
	bad, above map[string]bool
}

func newCollector(file string) *collector {
	return &collector{file: file, bad: map[string]bool{}, above: map[string]bool{}}
}

// add records a fault.
func (c *collector) add(line int, key, problem, hint string) {
	if len(c.faults) == maxFaults {
		c.dropped++
		return
	}
	// One fault is one line of output, whatever the file or a part put into it.
	c.faults = append(c.faults, Fault{c.file, line, oneLine(key), oneLine(problem), oneLine(hint)})
}

// spoil marks key as told about, so that checks pass over it.
func (c *collector) spoil(key string) {
	if len(c.faults) == maxFaults {
		return
	}
	c.bad[key] = true
	for p := parent(key); p != ""; p = parent(p) {
		c.above[p] = true
	}
}

// spoiled reports whether key, something in it, or something it is in has been
// told about.
func (c *collector) spoiled(key string) bool {
	if c.above[key] {
		return true
	}
	for p := key; p != ""; p = parent(p) {
		if c.bad[p] {
			return true
		}
	}
	return false
}

// sorted returns the faults in the order of the file.
func (c *collector) sorted() Faults {
	slices.SortStableFunc(c.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	if c.dropped > 0 {
		c.faults = append(c.faults, Fault{
			File:    c.file,
			Problem: fmt.Sprintf("and %d more faults", c.dropped),
			Hint:    "they are shown when these are mended",
		})
	}
	return c.faults
}

// parent cuts the last part of a key: "a.b[2]" lies in "a.b", and that in "a".
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

// oneLine replaces what would break a line or a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
