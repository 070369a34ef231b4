package probe

import (
	"fmt"
	"slices"
	"strings"
)

// side is all runs against one server.
type side []trace

// shape is what two traces must have in common to be compared byte by byte.
func (t trace) shape() string {
	var b strings.Builder
	for _, p := range t.parts {
		fmt.Fprintf(&b, "%s\x00%d\x00", p.what, len(p.data))
		if p.slack == exactSize {
			fmt.Fprintf(&b, "%d\x00", p.size)
		}
	}
	b.WriteString(t.ending())
	return b.String()
}

// form is the traces of one shape of one server: what the shape leaves open
// they say together.
type form struct {
	model trace
	count int
	vary  [][]bool // per part: which bytes are not the same in every run
	sizes [][]int  // per part: which sizes were seen
}

// learn sorts traces by shape and learns what varies within each.
func learn(runs side) map[string]*form {
	forms := make(map[string]*form)
	for _, t := range runs {
		s := t.shape()
		f := forms[s]
		if f == nil {
			f = &form{model: t, vary: make([][]bool, len(t.parts)), sizes: make([][]int, len(t.parts))}
			for i, p := range t.parts {
				f.vary[i] = make([]bool, len(p.data))
			}
			forms[s] = f
		}
		f.count++
		for i, p := range t.parts {
			f.sizes[i] = append(f.sizes[i], p.size)
			for k := range p.data {
				if p.data[k] != f.model.parts[i].data[k] {
					f.vary[i][k] = true
				}
			}
		}
	}
	return forms
}

// differs is where a trace of this shape leaves the form, or "".
func (f *form) differs(t trace) string {
	for i, p := range t.parts {
		m := f.model.parts[i]
		if p.slack != exactSize && !near(p.size, f.sizes[i], p.slack) {
			return fmt.Sprintf("%s has %d bytes, not %d", p.what, p.size, m.size)
		}
		for k := range p.data {
			if !f.vary[i][k] && p.data[k] != m.data[k] {
				return fmt.Sprintf("%s: byte %d: %s, not %s", p.what, k, around(p.data, k), around(m.data, k))
			}
		}
	}
	return ""
}

func near(n int, seen []int, slack int) bool {
	for _, s := range seen {
		if n-s <= slack && s-n <= slack {
			return true
		}
	}
	return false
}

// around shows bytes from k on, as text if they are.
func around(b []byte, k int) string {
	from, to := max(0, k-8), min(len(b), k+24)
	for _, c := range b[from:to] {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' {
			return fmt.Sprintf("%x", b[k:min(len(b), k+12)])
		}
	}
	return fmt.Sprintf("%q", b[from:to])
}

// strangers counts the traces that forms do not know, and says of one why.
func strangers(runs side, forms map[string]*form) (n int, why string) {
	for _, t := range runs {
		f := forms[t.shape()]
		if f == nil {
			n++
			if why == "" {
				why = unlike(t, forms)
			}
			continue
		}
		if d := f.differs(t); d != "" {
			n++
			if why == "" {
				why = d
			}
		}
	}
	return n, why
}

// unlike says where a trace of a new shape leaves the commonest form.
func unlike(t trace, forms map[string]*form) string {
	var f *form
	for _, g := range forms {
		if f == nil || g.count > f.count || g.count == f.count && g.model.summary() < f.model.summary() {
			f = g
		}
	}
	if f == nil {
		return t.summary()
	}
	for i, p := range t.parts {
		if i >= len(f.model.parts) {
			return "also " + p.String()
		}
		m := f.model.parts[i]
		switch {
		case p.what == m.what && len(p.data) != len(m.data):
			k := 0
			for k < min(len(p.data), len(m.data)) && (f.vary[i][k] || p.data[k] == m.data[k]) {
				k++
			}
			return fmt.Sprintf("%s: byte %d: %s, not %s", p, k, around(p.data, k), around(m.data, k))
		case p.what != m.what || p.slack == exactSize && p.size != m.size:
			return p.instead(m, f.model.parts[i:], t.parts[i:])
		}
	}
	if len(t.parts) < len(f.model.parts) {
		return "no " + f.model.parts[len(t.parts)].String()
	}
	return fmt.Sprintf("%s, not %s", t.ending(), f.model.ending())
}

// instead says what p is in the place of m: one more, one less, or another.
func (p part) instead(m part, models, parts []part) string {
	holds := func(list []part, x part) bool {
		for _, l := range list {
			if l.what == x.what && l.size == x.size {
				return true
			}
		}
		return false
	}
	switch {
	case !holds(parts, m) && holds(models, p):
		return "no " + m.String()
	case !holds(models, p) && holds(parts, m):
		return "also " + p.String()
	}
	return p.String() + " in place of " + m.String()
}

// content compares what came back. odd is the larger share of runs on one side
// that the other side never showed.
func content(reference, relay side) (odd float64, why string) {
	more, why := strangers(relay, learn(reference))
	// The reference's own runs are held against the relay's too: an outcome that
	// only the reference has tells them apart as well.
	fewer, missing := strangers(reference, learn(relay))
	if more+fewer == 0 {
		return 0, ""
	}
	if why == "" {
		why = "never as the reference at times: " + missing
	}
	odd = max(float64(more)/float64(len(relay)), float64(fewer)/float64(len(reference)))
	return max(odd-whim(reference), 0.01), why
}

// whim is the share of runs that no other run against the same server
// resembles: how often a server without a rule, such as one that cuts its
// answers by how its threads meet, looks like no other.
func whim(runs side) float64 {
	if len(runs) < 3 {
		return 0
	}
	alone := 0
	for i := range runs {
		others := slices.Delete(slices.Clone(runs), i, i+1)
		n, _ := strangers(runs[i:i+1], learn(others))
		alone += n
	}
	return float64(alone) / float64(len(runs))
}
