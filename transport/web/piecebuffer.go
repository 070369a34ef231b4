package web

import "sync"

// pieceBuffer holds what waits for a piece. They are used again: an upload would leave a
// megabyte of garbage each 30 ms otherwise, and more while its slices grow. The nil
// pointer is an empty one.
type pieceBuffer struct{ b []byte }

// pieceSizes are those of buffers: for messages, for what slow lines gather between two
// pieces, and for uploads.
var pieceSizes = [...]int{4 << 10, 64 << 10, mostPiece}

var pieceBuffers [len(pieceSizes)]sync.Pool

func newPieceBuffer(n int) *pieceBuffer {
	for i, size := range pieceSizes {
		if n > size {
			continue
		}
		if p, ok := pieceBuffers[i].Get().(*pieceBuffer); ok {
			return p
		}
		return &pieceBuffer{make([]byte, 0, size)}
	}
	return &pieceBuffer{make([]byte, 0, n)} // no piece is as long
}

func (p *pieceBuffer) free() {
	if p == nil {
		return
	}
	for i, size := range pieceSizes {
		if cap(p.b) == size {
			p.b = p.b[:0]
			pieceBuffers[i].Put(p)
			return // it is another one's now
		}
	}
}

func (p *pieceBuffer) len() int {
	if p == nil {
		return 0
	}
	return len(p.b)
}

// append returns a buffer with b behind what p has, which may be another one.
func (p *pieceBuffer) append(b []byte) *pieceBuffer {
	if p == nil {
		p = newPieceBuffer(len(b))
	} else if n := len(p.b) + len(b); n > cap(p.b) {
		larger := newPieceBuffer(n)
		larger.b = append(larger.b, p.b...)
		p.free()
		p = larger
	}
	p.b = append(p.b, b...)
	return p
}

// cut takes the first n bytes off, or all if there are fewer. rest is nil if there is
// none.
func (p *pieceBuffer) cut(n int) (first, rest *pieceBuffer) {
	if n < len(p.b) {
		rest = rest.append(p.b[n:])
		p.b = p.b[:n]
	}
	return p, rest
}
