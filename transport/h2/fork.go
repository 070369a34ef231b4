package h2

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A connection is taken over from another server like this:
//
//	preface, SETTINGS, … ──► the other server, which answers them
//	the first head       ──► ours? ──no──► the other server, and all that follows
//	                          │yes
//	                          ▼
//	the other server is told that the client has gone; what it said and heard is Begun
//
// So a stranger meets the other server and nothing else.

const (
	// mostEarly is how long a frame may be that stands before the first head, and
	// mostEarlyFrames how many may; Firefox sends five.
	mostEarly       = 1 << 10
	mostEarlyFrames = 16
	// answerTime is what the other server has to acknowledge SETTINGS.
	answerTime = 5 * time.Second
)

// Fork is a connection for a server that may lose it to [NewServer] at the first request. That
// server has to read frame by frame, and to write whole frames.
type Fork struct {
	net.Conn
	ours func(Head) bool

	// Of who reads.
	passing bool   // nothing is looked at any more
	stash   []byte // read, and not given to the other server
	err     error  // that follows it
	preface int    // bytes of it that have come
	frames  int
	acks    bool // the client has acknowledged SETTINGS

	left   atomic.Bool // gone
	mu     sync.Mutex
	begun  Begun
	heard  bool // the client's SETTINGS have come
	said   bool // ours were sent
	acked  bool // and the client's are acknowledged: the other server takes them
	gone   bool // the connection stays with the other server
	taken  bool
	answer chan struct{} // closed when the client's SETTINGS are acknowledged, or gone
}

// NewFork returns one for c. ours is asked for the head of the first request.
func NewFork(c net.Conn, ours func(Head) bool) *Fork {
	return &Fork{Conn: c, ours: ours, answer: make(chan struct{})}
}

// Taken returns what [NewServer] needs to go on, when the other server has returned; nil: it
// had the connection to its end.
func (f *Fork) Taken() *Begun {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.taken {
		return nil
	}
	return &f.begun
}

// Read implements net.Conn.
func (f *Fork) Read(b []byte) (int, error) {
	if f.passing && len(f.stash) == 0 && f.err == nil {
		return f.Conn.Read(b)
	}
	if len(f.stash) == 0 && f.err == nil {
		f.next()
	}
	if len(f.stash) > 0 {
		n := copy(b, f.stash)
		if f.stash = f.stash[n:]; len(f.stash) == 0 {
			f.stash = nil
		}
		return n, nil
	}
	return 0, f.err
}

// next fills stash with a frame, or stops looking.
func (f *Fork) next() {
	if f.preface < len(preface) {
		f.readPreface()
		return
	}
	p := f.grow(nil, headerSize)
	if f.err != nil {
		f.pass(p)
		return
	}
	h := parseHeader(p)
	most := mostEarly
	switch h.kind {
	case frameHeaders:
		most = defaultFrame
	case frameContinuation:
		most = -1 // golang.org/x/net's server objects to its header
	}
	if h.length > most {
		f.pass(p)
		return
	}
	p = f.grow(p, h.length)
	if f.err != nil || f.frames >= mostEarlyFrames {
		f.pass(p)
		return
	}
	f.frames++
	f.stash = p
	if h.kind == frameHeaders {
		f.decide(h, p[headerSize:])
	} else if !f.note(h, p[headerSize:]) {
		f.pass(p)
	}
}

// pass leaves all to the other server, p first, unless the connection is taken.
func (f *Fork) pass(p []byte) {
	f.stash, f.passing = p, true
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave()
}

// readPreface passes the preface on as it comes.
func (f *Fork) readPreface() {
	var b [len(preface)]byte
	n, err := f.Conn.Read(b[f.preface:])
	f.stash, f.err = append([]byte(nil), b[f.preface:][:n]...), err
	f.preface += n
	if string(f.stash) != preface[f.preface-n:f.preface] || err != nil {
		f.pass(f.stash)
	}
}

// grow appends the next n bytes.
func (f *Fork) grow(p []byte, n int) []byte {
	start := len(p)
	p = append(p, make([]byte, n)...)
	m, err := io.ReadFull(f.Conn, p[start:])
	if err != nil {
		if err == io.ErrUnexpectedEOF {
			err = io.EOF // as who reads what is there will see it
		}
		f.err = err
	}
	return p[:start+m]
}

// note takes a frame before the first head; false: the other server may have something to
// say of it.
func (f *Fork) note(h frameHeader, p []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case h.kind == framePriority:
		return h.stream > 0 && len(p) == 5 && word(p) != h.stream
	case h.kind > frameContinuation:
		return h.kind != framePriorityUpdate
	case h.kind == frameSettings && h.has(flagAck):
		once := !f.acks
		f.acks = true
		return once && h.stream == 0 && len(p) == 0
	case h.kind == frameSettings && h.stream == 0 && len(p)%6 == 0 && !f.heard:
		f.begun.Peer = parseSettings(p)
		f.heard = true
		return true
	case h.kind == frameWindow && h.stream == 0 && len(p) == 4 && f.begun.Opened == 0:
		f.begun.Opened = word(p)
		return f.begun.Opened > 0 && f.begun.Opened <= mostWindow-defaultWindow
	}
	return false
}

func parseSettings(p []byte) (list []Setting) {
	for ; len(p) >= 6; p = p[6:] {
		list = append(list, Setting{binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])})
	}
	return list
}

// decide looks at the head of the first request.
func (f *Fork) decide(h frameHeader, p []byte) {
	defer func() { f.pass(f.stash) }()
	p, err := blockOf(h, p)
	if err != nil || !h.has(flagEndHeaders) || h.stream%2 == 0 || !f.heard {
		return
	}
	f.mu.Lock()
	d := hpack.NewDecoder(setting(f.begun.Settings, SettingHeaderTableSize, defaultTable), nil)
	f.mu.Unlock()
	d.SetMaxStringLength(defaultFrame)
	size := 0
	var fields []Field
	d.SetEmitFunc(func(v hpack.HeaderField) {
		if size += len(v.Name) + len(v.Value) + fieldCost; size <= mostBlock {
			fields = append(fields, Field{v.Name, v.Value})
		}
	})
	if _, err := d.Write(p); err != nil || size > mostBlock || d.Close() != nil {
		return
	}
	head, what := headOf(fields)
	if what != "" || !f.ours(head) {
		return
	}
	select {
	case <-f.answer:
	case <-time.After(answerTime):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone || !f.said || !f.acked {
		return
	}
	f.stash = nil
	f.taken = true
	f.begun.Decoder, f.begun.Stream, f.begun.Fields, f.begun.End = d, h.stream, fields, h.has(flagEnd)
	f.err = io.EOF // for the other server
}

// blockOf is the part of HEADERS that is a header block.
func blockOf(h frameHeader, p []byte) ([]byte, error) {
	pad := 0
	if h.has(flagPadded) {
		if len(p) == 0 {
			return nil, violation(FrameSizeError, "a padded frame is empty")
		}
		pad, p = int(p[0]), p[1:]
	}
	if h.has(flagPriority) {
		if len(p) < 5 {
			return nil, violation(FrameSizeError, "HEADERS end within their priority")
		}
		p = p[5:]
	}
	if pad > len(p) {
		return nil, violation(ProtocolError, "more padding than frame")
	}
	return p[:len(p)-pad], nil
}

// Write implements net.Conn, for the other server.
func (f *Fork) Write(b []byte) (int, error) {
	if f.left.Load() {
		return f.Conn.Write(b)
	}
	f.mu.Lock()
	taken := f.taken
	f.mu.Unlock()
	if taken {
		return 0, net.ErrClosed
	}
	n, err := f.Conn.Write(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.overhear(b[:n])
	return n, err
}

// overhear takes what the other server has said; under mu.
func (f *Fork) overhear(b []byte) {
	for len(b) > 0 && !f.gone && !f.taken {
		h := frameHeader{length: len(b)}
		if len(b) >= headerSize {
			h = parseHeader(b)
		}
		if len(b) < headerSize+h.length {
			f.leave()
			return
		}
		p := b[headerSize:][:h.length]
		b = b[headerSize+h.length:]
		switch {
		case h.kind == frameSettings && h.has(flagAck):
			f.acked = true
			f.acknowledged()
		case h.kind == frameSettings && !f.said:
			f.begun.Settings, f.said = parseSettings(p), true
		case h.kind == frameWindow && h.stream == 0 && len(p) == 4:
			f.begun.Window += word(p)
		default:
			f.leave()
		}
	}
}

func (f *Fork) acknowledged() {
	select {
	case <-f.answer:
	default:
		close(f.answer)
	}
}

// leave says that the connection stays with the other server; under mu.
func (f *Fork) leave() {
	if f.taken {
		return
	}
	f.gone = true
	f.left.Store(true)
	f.acknowledged()
}

// Close implements net.Conn, for the other server.
func (f *Fork) Close() error {
	f.mu.Lock()
	f.leave()
	taken := f.taken
	f.mu.Unlock()
	if taken {
		return nil
	}
	return f.Conn.Close()
}
