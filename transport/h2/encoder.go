package h2

import "golang.org/x/net/http2/hpack"

const (
	// defaultTable is the size of a dynamic table before SETTINGS say another.
	defaultTable = 4096
	// mostTable is how much of the peer's table is used. A browser uses all of it;
	// no server is known to offer more than this.
	mostTable = 64 << 10
	// fieldCost is what an entry counts beside its strings (RFC 7541, Section 4.1).
	fieldCost = 32
)

// encoder writes header blocks as Chrome's does, which golang.org/x/net's encoder
// cannot: of the pseudo-header fields only :authority goes into the dynamic table,
// the others are literals without indexing, and names have their first index.
type encoder struct {
	table  []Field // the last is the newest
	size   int
	limit  int
	lowest int  // limit has been, since the last block
	resize bool // the peer has to be told limit
}

// setLimit is the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) setLimit(n int) {
	n = min(n, mostTable)
	if n == e.limit {
		return
	}
	if !e.resize {
		e.lowest = e.limit
	}
	e.lowest = min(e.lowest, n)
	e.limit, e.resize = n, true
	e.evict(0)
}

// begin starts a block (RFC 7541, Section 4.2).
func (e *encoder) begin(b []byte) []byte {
	if !e.resize {
		return b
	}
	e.resize = false
	if e.lowest < e.limit {
		b = appendInt(b, 0x20, 5, e.lowest)
	}
	return appendInt(b, 0x20, 5, e.limit)
}

// field appends one field. once says that another one will hardly have the same value:
// it goes into no table.
func (e *encoder) field(b []byte, f Field, once bool) []byte {
	name := staticNames[f.Name]
	for i := name; i > 0 && i <= len(static) && static[i-1].Name == f.Name; i++ {
		if static[i-1].Value == f.Value {
			return appendInt(b, 0x80, 7, i)
		}
	}
	for i := len(e.table) - 1; i >= 0; i-- {
		if e.table[i].Name != f.Name {
			continue
		}
		at := len(static) + len(e.table) - i
		if e.table[i].Value == f.Value {
			return appendInt(b, 0x80, 7, at)
		}
		if name == 0 {
			name = at
		}
	}
	if once || f.Name[0] == ':' && f.Name != ":authority" {
		b = appendInt(b, 0, 4, name)
	} else {
		b = appendInt(b, 0x40, 6, name)
		e.add(f)
	}
	if name == 0 {
		b = appendString(b, f.Name)
	}
	return appendString(b, f.Value)
}

// add makes f the newest entry; one that is larger than the table empties it.
func (e *encoder) add(f Field) {
	cost := len(f.Name) + len(f.Value) + fieldCost
	e.evict(cost)
	if cost <= e.limit {
		e.table = append(e.table, f)
		e.size += cost
	}
}

// evict makes room for an entry.
func (e *encoder) evict(cost int) {
	n := 0
	for ; n < len(e.table) && e.size+cost > e.limit; n++ {
		e.size -= len(e.table[n].Name) + len(e.table[n].Value) + fieldCost
	}
	if n > 0 {
		left := copy(e.table, e.table[n:])
		clear(e.table[left:])
		e.table = e.table[:left]
	}
}

// appendInt is RFC 7541, Section 5.1, behind the bits of a pattern.
func appendInt(b []byte, pattern byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, pattern|byte(n))
	}
	b = append(b, pattern|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func appendString(b []byte, s string) []byte {
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		return hpack.AppendHuffmanString(appendInt(b, 0x80, 7, int(n)), s)
	}
	return append(appendInt(b, 0, 7, len(s)), s...)
}
