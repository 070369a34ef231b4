package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Bounds of a file. Decoding takes go-toml time that grows with the square of
// the number of keys (measured with v2.4.3: 100,000 keys in one table take
// 24 s), and a key of many parts is walked for each key below it.
const (
	maxKeys  = 10_000
	maxDepth = 32
)

// place is where a key, a table or an element of an array stands in the file.
// The places of a file form the same tree as its values.
type place struct {
	line  int
	keys  map[string]*place
	items []*place
}

// key returns the place of a key in a table; a new one gets the line.
func (p *place) key(name string, line int) *place {
	if k := p.keys[name]; k != nil {
		return k
	}
	if p.keys == nil {
		p.keys = map[string]*place{}
	}
	k := &place{line: line}
	p.keys[name] = k
	return k
}

// at returns the place of a key in p, or p where the file does not have it: a
// key that is missing is a fault of its table.
func (p *place) at(name string) *place {
	if k := p.keys[name]; k != nil {
		return k
	}
	return p
}

// item is at for the elements of an array.
func (p *place) item(i int) *place {
	if i >= 0 && i < len(p.items) {
		return p.items[i]
	}
	return p
}

// find follows a key such as `allow[2]` or `dcs."2"[0].host` as far as the
// file has it.
func (p *place) find(key string) *place {
	for key != "" {
		next := p
		switch key[0] {
		case '.':
			key = key[1:]
			continue
		case '[':
			number, rest, _ := strings.Cut(key[1:], "]")
			i, err := strconv.Atoi(number)
			if err != nil {
				return p
			}
			next, key = p.item(i), rest
		default:
			name, rest := cutName(key)
			next, key = p.at(name), rest
		}
		if next == p {
			return p
		}
		p = next
	}
	return p
}

// cutName splits off the first name of a key, quoted or bare.
func cutName(key string) (name, rest string) {
	if quoted, err := strconv.QuotedPrefix(key); err == nil {
		if name, err := strconv.Unquote(quoted); err == nil {
			return name, key[len(quoted):]
		}
	}
	if i := strings.IndexAny(key[1:], ".["); i >= 0 {
		return key[:i+1], key[i+1:]
	}
	return key, ""
}

// walker builds the places of a file.
type walker struct {
	parser  unstable.Parser
	newline []int // offset of each line break
	keys    int
	last    int // line of what was seen last, for values that have none of their own
}

// outOfBounds says why a file is refused before it is decoded.
type outOfBounds struct {
	line    int
	problem string
}

// readPlaces returns the places of a file up to its first syntax error, which
// it leaves to the decoder to tell.
func readPlaces(src []byte) (*place, *outOfBounds) {
	w := &walker{last: 1}
	for i, b := range src {
		if b == '\n' {
			w.newline = append(w.newline, i)
		}
	}
	root := &place{}
	table, depth := root, 0
	w.parser.Reset(src)
	for w.parser.NextExpression() {
		var bad *outOfBounds
		switch e := w.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, depth, bad = w.header(root, e)
		case unstable.KeyValue:
			bad = w.keyValue(table, e, depth)
		}
		if bad != nil {
			return root, bad
		}
	}
	return root, nil
}

// header enters the table that [a.b] or [[a.b]] opens.
func (w *walker) header(root *place, e *unstable.Node) (table *place, depth int, bad *outOfBounds) {
	table, depth, bad = w.descend(root, e.Key(), 0)
	if bad != nil {
		return nil, 0, bad
	}
	if e.Kind == unstable.ArrayTable {
		table.items = append(table.items, &place{line: w.last})
		return table.items[len(table.items)-1], depth + 1, nil
	}
	// [a] may come after [a.b]: its own header is what a person looks for.
	table.line = w.last
	return table, depth, nil
}

// descend follows the parts of a key from p, through the last element where
// one of them is an array of tables.
func (w *walker) descend(p *place, parts unstable.Iterator, depth int) (*place, int, *outOfBounds) {
	for first := true; parts.Next(); first = false {
		if n := len(p.items); n > 0 && !first {
			p = p.items[n-1]
			depth++
		}
		part := parts.Node()
		w.see(part)
		depth++
		w.keys++
		switch {
		case w.keys > maxKeys:
			return nil, 0, &outOfBounds{w.last, fmt.Sprintf("more than %d keys", maxKeys)}
		case depth > maxDepth:
			return nil, 0, w.tooDeep()
		}
		p = p.key(string(part.Data), w.last)
	}
	return p, depth, nil
}

// keyValue notes a key, dotted or not, and what is in its value.
func (w *walker) keyValue(table *place, e *unstable.Node, depth int) *outOfBounds {
	p, depth, bad := w.descend(table, e.Key(), depth)
	if bad != nil {
		return bad
	}
	return w.value(p, e.Value(), depth)
}

// value notes what is in an array or an inline table.
func (w *walker) value(p *place, v *unstable.Node, depth int) *outOfBounds {
	if depth > maxDepth {
		return w.tooDeep()
	}
	children := v.Children()
	switch v.Kind {
	case unstable.Array:
		for children.Next() {
			n := children.Node()
			w.see(firstOf(n))
			elem := &place{line: w.last}
			p.items = append(p.items, elem)
			if bad := w.value(elem, n, depth+1); bad != nil {
				return bad
			}
		}
	case unstable.InlineTable:
		for children.Next() {
			if bad := w.keyValue(p, children.Node(), depth); bad != nil {
				return bad
			}
		}
	}
	return nil
}

func (w *walker) tooDeep() *outOfBounds {
	return &outOfBounds{w.last, fmt.Sprintf("tables and arrays nested more than %d deep", maxDepth)}
}

// see moves last to the line of n, if the parser recorded one.
func (w *walker) see(n *unstable.Node) {
	if n.Valid() && n.Raw.Length > 0 {
		w.last = sort.SearchInts(w.newline, int(n.Raw.Offset)) + 1
	}
}

// firstOf returns the first thing in n that has bytes of its own: the parser
// records none for the brackets of arrays and inline tables.
func firstOf(n *unstable.Node) *unstable.Node {
	for n.Valid() && n.Raw.Length == 0 && n.Child().Valid() {
		n = n.Child()
	}
	return n
}
