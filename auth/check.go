package auth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
)

// The check reads the file page by page, with bounds on everything, because
// bbolt trusts what it maps: one changed byte can make it panic in a goroutine
// of its own (Tx.Check does), recurse for ever or write into pages in use. It
// also keeps the pages out of our address space, where a walk through bbolt
// would count 33 MB for 100,000 users.
//
// The format is bbolt's (internal/common in its source), in the byte order of
// the machine: pages of a header (id, flags, count, overflow) and elements.
const (
	pageHeader  = 16
	pageElement = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	pageFree    = 0x10
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	leafBucket  = 0x01
	bucketSize  = 16
	mostDepth   = 32
)

var order = binary.NativeEndian

// checker holds the state of one walk.
type checker struct {
	r        io.ReaderAt
	pageSize int64
	seen     []bool                // by page, up to the high-water mark
	bufs     [mostDepth + 2][]byte // one for each level, as parents stay in use
}

// checkPages reports the first thing that is wrong with a database file.
func checkPages(r io.ReaderAt, size int64, pageSize int) error {
	c := &checker{r: r, pageSize: int64(pageSize)}
	if pageSize < 1024 || int64(pageSize) > size {
		return fmt.Errorf("page size %d", pageSize)
	}
	m, err := c.meta()
	if err != nil {
		return err
	}
	root, free, pages := order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:])
	if pages < 2 || pages > uint64(size/c.pageSize) {
		return fmt.Errorf("%d pages of %d bytes in a file of %d", pages, pageSize, size)
	}
	c.seen = make([]bool, pages)
	if err := c.freelist(free); err != nil {
		return err
	}
	if err := c.tree(root, 0, nil, nil, c.bucket); err != nil {
		return err
	}
	// A branch or bucket that points elsewhere loses pages, and their users.
	for id, seen := range c.seen[2:] {
		if !seen {
			return fmt.Errorf("page %d is neither used nor free", id+2)
		}
	}
	return nil
}

// meta returns the newer of the two meta pages that are whole: the other one
// is the transaction before, which a crash may leave behind.
func (c *checker) meta() ([]byte, error) {
	var best []byte
	for i := range int64(2) {
		b := make([]byte, metaSize)
		if _, err := c.r.ReadAt(b, i*c.pageSize+pageHeader); err != nil {
			return nil, err
		}
		h := fnv.New64a()
		_, _ = h.Write(b[:56])
		if order.Uint32(b) != metaMagic || h.Sum64() != order.Uint64(b[56:]) {
			continue
		}
		if best == nil || order.Uint64(b[48:]) > order.Uint64(best[48:]) {
			best = b
		}
	}
	if best == nil {
		return nil, errors.New("no meta page is whole")
	}
	return best, nil
}

// page reads a page with its overflow and notes that it is in use.
func (c *checker) page(id uint64, depth int) ([]byte, error) {
	if id < 2 || id >= uint64(len(c.seen)) {
		return nil, fmt.Errorf("page %d is out of range", id)
	}
	var head [pageHeader]byte
	if _, err := c.r.ReadAt(head[:], int64(id)*c.pageSize); err != nil {
		return nil, err
	}
	more := uint64(order.Uint32(head[12:]))
	if order.Uint64(head[:]) != id || id+more >= uint64(len(c.seen)) {
		return nil, fmt.Errorf("page %d has a wrong header", id)
	}
	if err := c.use(id, more+1); err != nil {
		return nil, err
	}
	n := int(more+1) * int(c.pageSize)
	if cap(c.bufs[depth]) < n {
		c.bufs[depth] = make([]byte, n)
	}
	b := c.bufs[depth][:n]
	_, err := c.r.ReadAt(b, int64(id)*c.pageSize)
	return b, err
}

// use notes n pages that have one purpose; a second one is damage.
func (c *checker) use(id, n uint64) error {
	for ; n > 0; id, n = id+1, n-1 {
		if id < 2 || id >= uint64(len(c.seen)) || c.seen[id] {
			return fmt.Errorf("page %d is out of range or used twice", id)
		}
		c.seen[id] = true
	}
	return nil
}

// freelist notes the pages that the next transactions will write to.
func (c *checker) freelist(id uint64) error {
	b, err := c.page(id, 0)
	if err != nil {
		return err
	}
	n, ids := uint64(order.Uint16(b[10:])), b[pageHeader:]
	if n == 0xFFFF {
		n, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(b[8:]) != pageFree || n > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is no list of free pages", id)
	}
	for i := range n {
		if err := c.use(order.Uint64(ids[8*i:]), 1); err != nil {
			return err
		}
	}
	return nil
}

// visit gets every element of the leaves of a tree.
type visit func(depth int, flags uint32, key, value []byte) error

// tree walks the pages below id, whose keys are at least low and less than
// high; nil is no limit.
func (c *checker) tree(id uint64, depth int, low, high []byte, v visit) error {
	if depth > mostDepth {
		return errors.New("the tree is too deep")
	}
	b, err := c.page(id, depth)
	if err != nil {
		return err
	}
	if order.Uint16(b[8:]) != pageBranch {
		return c.leaf(b, depth, low, high, v)
	}
	count, ok := elements(b, 0)
	if !ok || count == 0 {
		return fmt.Errorf("page %d has a wrong number of elements", id)
	}
	elem := func(i int) (key []byte, child uint64, ok bool) {
		e := b[pageHeader+i*pageElement:]
		key, ok = part(e, order.Uint32(e), order.Uint32(e[4:]))
		return key, order.Uint64(e[8:]), ok
	}
	for i := range count {
		key, child, ok := elem(i)
		next := high
		if i+1 < count && ok {
			next, _, ok = elem(i + 1)
		}
		// bbolt answers an empty key with a panic when it changes the page.
		if !ok || len(key) == 0 || !within(key, low, high) || next != nil && bytes.Compare(key, next) >= 0 {
			return fmt.Errorf("page %d: element %d is out of place", id, i)
		}
		if err := c.tree(child, depth+1, key, next, v); err != nil {
			return err
		}
	}
	return nil
}

// leaf walks the elements of a leaf, which is a page or lies in a bucket's
// value.
func (c *checker) leaf(b []byte, depth int, low, high []byte, v visit) error {
	count, ok := elements(b, 4)
	if order.Uint16(b[8:]) != pageLeaf || !ok {
		return fmt.Errorf("page %d is no leaf", order.Uint64(b))
	}
	var last []byte
	for i := range count {
		e := b[pageHeader+i*pageElement:]
		pos, klen, vlen := order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		key, ok := part(e, pos, klen)
		value, vok := part(e, pos+klen, vlen)
		if !ok || !vok || len(key) == 0 || !within(key, low, high) || last != nil && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("page %d: element %d is out of place", order.Uint64(b), i)
		}
		if err := v(depth, order.Uint32(e), key, value); err != nil {
			return err
		}
		last = key
	}
	return nil
}

// elements is the number of elements on a page. It has to agree with where
// the first one has its key, which is right behind the last element: with a
// smaller number users would be missing.
func elements(b []byte, posAt int) (int, bool) {
	count := int(order.Uint16(b[10:]))
	if count == 0 {
		return 0, len(bytes.Trim(b[pageHeader:], "\x00")) == 0
	}
	if pageHeader+count*pageElement > len(b) {
		return 0, false
	}
	return count, order.Uint32(b[pageHeader+posAt:]) == uint32(count*pageElement)
}

// bucket visits the root, which holds nothing but buckets.
func (c *checker) bucket(depth int, flags uint32, name, value []byte) error {
	if flags != leafBucket || len(value) < bucketSize {
		return fmt.Errorf("%q is no bucket", name)
	}
	if root := order.Uint64(value); root != 0 {
		return c.tree(root, depth+1, nil, nil, sealed)
	}
	if len(value) < bucketSize+pageHeader {
		return fmt.Errorf("bucket %q is cut short", name)
	}
	return c.leaf(value[bucketSize:], depth, nil, nil, sealed)
}

// sealed visits what we wrote.
func sealed(_ int, flags uint32, key, value []byte) error {
	if _, ok := unseal(key, value); !ok || flags != 0 {
		return fmt.Errorf("the value of %q has a wrong checksum", key)
	}
	return nil
}

// part is n bytes of e from pos.
func part(e []byte, pos, n uint32) ([]byte, bool) {
	if uint64(pos)+uint64(n) > uint64(len(e)) {
		return nil, false
	}
	return e[pos : uint64(pos)+uint64(n)], true
}

func within(key, low, high []byte) bool {
	return bytes.Compare(key, low) >= 0 && (high == nil || bytes.Compare(key, high) < 0)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sealSize = 4

// seal puts a checksum before a value: a bit that flipped on the disk must not
// become another password, another quota or another user's record.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, sealSize+len(value)), sum), value...)
}

// unseal returns the value, which is valid as long as b is.
func unseal(key, b []byte) (value []byte, ok bool) {
	if len(b) < sealSize {
		return nil, false
	}
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, b[sealSize:])
	return b[sealSize:], sum == binary.BigEndian.Uint32(b)
}
