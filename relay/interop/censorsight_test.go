package interop

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"relay/transport/browser"
)

// mostRecords is how many records of a connection are kept. Detectors of TLS inside
// TLS decide on fewer.
const mostRecords = 30

// crossing is what a censor knows of one connection.
type crossing struct {
	Began, Frozen, Ended time.Time
	Refused              string // why; empty: it was not
	Name                 string // in the hello
	Hello                []byte // the message; nil: it is not TLS
	Up, Down             int64  // bytes that passed; up, those of a refused hello too
	Records              []tlsRecord

	up, down splitter
}

// tlsRecord is a record as the censor has seen it begin.
type tlsRecord struct {
	After time.Duration // since the beginning of the connection
	Up    bool
	Kind  byte
	Size  int // with its header
}

// splitter finds the records of one direction.
type splitter struct {
	head []byte // of the next one, as far as it is there
	left int    // of the body of the one before
}

const recordHead = 5

// next takes the rest of a record that has begun, and the header of the next one. ok
// is false where that is not there yet.
func (s *splitter) next(b []byte) (kind byte, size int, rest []byte, ok bool) {
	n := min(s.left, len(b))
	s.left -= n
	b = b[n:]
	n = min(recordHead-len(s.head), len(b))
	s.head = append(s.head, b[:n]...)
	b = b[n:]
	if len(s.head) < recordHead {
		return 0, 0, b, false
	}
	kind, s.left = s.head[0], int(binary.BigEndian.Uint16(s.head[3:]))
	s.head = s.head[:0]
	return kind, s.left + recordHead, b, true
}

// note keeps what there is to know of bytes that pass.
func (c *censor) note(f *crossing, up bool, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	split, total := &f.down, &f.Down
	if up {
		split, total = &f.up, &f.Up
	}
	*total += int64(len(b))
	for len(b) > 0 && len(f.Records) < mostRecords {
		kind, size, rest, ok := split.next(b)
		if b = rest; ok {
			f.Records = append(f.Records, tlsRecord{time.Since(f.Began), up, kind, size})
		}
	}
}

// fingerprint is the JA4 of the connection's hello.
func (f *crossing) fingerprint(t *testing.T) string {
	t.Helper()
	s, err := browser.Inspect(f.Hello)
	if err != nil {
		t.Fatalf("hello of %v: %v", f, err)
	}
	return s.JA4()
}

// String is for the log of a test that has failed.
func (f crossing) String() string {
	out := fmt.Sprintf("%s, name %q, %d up, %d down", f.Began.Format("05.000"), f.Name, f.Up, f.Down)
	if f.Refused != "" {
		out += ", refused: " + f.Refused
	}
	if !f.Frozen.IsZero() {
		out += ", frozen at " + f.Frozen.Format("05.000")
	}
	if !f.Ended.IsZero() {
		out += ", left at " + f.Ended.Format("05.000")
	}
	return out
}
