package faketls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"relay/transport"
)

var errRecord = errors.New("faketls: not a record of application data")

// Records are the sizes of the records that carry payload. Real servers begin
// small, so that the first bytes can be used before a full record has arrived
// over a slow line, and go on with full ones. Telegram's clients wait for whole
// records, too.
type Records struct {
	Small, Smalls   int           // bytes in each of the first records, and how many of them
	Medium, Mediums int           // the same for those that follow
	Large           int           // bytes in all others
	Idle            time.Duration // of silence after which it begins anew
}

// DefaultRecords fit one segment each, then three, then are as large as they can be.
func DefaultRecords() Records {
	return Records{Small: 1420, Smalls: 40, Medium: 4096, Mediums: 20, Large: maxRecord, Idle: time.Second}
}

// FullRecords are as large as they can be from the first on.
func FullRecords() Records { return Records{Small: maxRecord, Medium: maxRecord, Large: maxRecord} }

func (r *Records) check() error {
	for _, size := range []int{r.Small, r.Medium, r.Large} {
		if size < 1 || size > maxRecord {
			return fmt.Errorf("records of %d bytes, want 1 to %d", size, maxRecord)
		}
	}
	if r.Smalls < 0 || r.Mediums < 0 || r.Idle < 0 || r.Smalls+r.Mediums > 1<<20 {
		return errors.New("negative or absurd numbers of records")
	}
	return nil
}

// clientRecords are those of Telegram's clients (tdlib, MAX_TLS_PACKET_LENGTH).
var clientRecords = Records{Small: 2878, Medium: 2878, Large: 2878}

// maxReceived is the longest record that TLS 1.3 allows. A client's may be longer:
// gotd puts a whole write into one. To refuse that would protect nothing, as no
// more than a header is ever held.
const maxReceived = 1<<14 + 256

// codec puts payload into records of application data, and takes it out again.
// Nothing in a record is authenticated, so payload is passed on as it arrives,
// and the codec never holds more than a header.
type codec struct {
	records *Records
	now     func() time.Time
	client  bool // of the handshake: sends ChangeCipherSpec first, receives none

	// The direction of Decode.
	head  [recordHeader]byte
	have  uint8  // of head
	left  uint16 // of the record
	quiet bool   // its payload is not ours

	// The direction of Encode.
	open bool      // something has been sent
	sent int32     // records of this burst, as far as they count
	last time.Time // when the latest was made
}

var (
	_ transport.Codec  = (*codec)(nil)
	_ transport.Framer = (*codec)(nil)
)

// Decode implements transport.Codec. A client's ChangeCipherSpec means nothing,
// and nothing says how many it may send.
func (c *codec) Decode(dst, wire []byte) ([]byte, error) {
	for len(wire) > 0 {
		if c.left == 0 {
			n := copy(c.head[c.have:], wire)
			wire = wire[n:]
			if c.have += uint8(n); c.have < recordHeader {
				return dst, nil
			}
			if err := c.begin(); err != nil {
				return dst, err
			}
			continue
		}
		n := min(int(c.left), len(wire))
		if !c.quiet {
			dst = append(dst, wire[:n]...)
		}
		wire = wire[n:]
		c.left -= uint16(n)
	}
	return dst, nil
}

// begin reads a whole header.
func (c *codec) begin() error {
	size := int(binary.BigEndian.Uint16(c.head[3:]))
	if c.head[1] != 3 || c.head[2] != 3 || c.client && size > maxReceived {
		return errRecord
	}
	switch {
	case c.head[0] == typeApplicationData:
		c.quiet = false
	case c.head[0] == typeChangeCipherSpec && !c.client:
		c.quiet = true
	default:
		return errRecord
	}
	c.have, c.left = 0, uint16(size)
	return nil
}

// Ended implements transport.Codec. Neither side says goodbye: see End.
func (c *codec) Ended() error {
	if c.left > 0 || c.have > 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Encode implements transport.Codec.
func (c *codec) Encode(dst, payload []byte) ([]byte, error) {
	for len(payload) > 0 {
		var n int
		dst, n = c.Frame(dst, len(payload))
		dst = append(dst, payload[:n]...)
		payload = payload[n:]
	}
	return dst, nil
}

// Frame implements transport.Framer.
func (c *codec) Frame(dst []byte, n int) (header []byte, size int) {
	if c.client && !c.open {
		dst = append(dst, typeChangeCipherSpec, 3, 3, 0, 1, 1)
	}
	if now := c.now(); !c.open || now.Sub(c.last) >= c.records.Idle {
		c.sent, c.last = 0, now
	} else {
		c.last = now
	}
	c.open = true
	size = min(c.size(), n)
	return append(dst, typeApplicationData, 3, 3, byte(size>>8), byte(size)), size
}

// FrameSize implements transport.Framer.
func (c *codec) FrameSize() int {
	r := c.records
	switch {
	case int(c.sent) < r.Smalls:
		return r.Small
	case int(c.sent) < r.Smalls+r.Mediums:
		return r.Medium
	}
	return r.Large
}

// size is that of the next record, which it counts.
func (c *codec) size() int {
	n := c.FrameSize()
	if int(c.sent) < c.records.Smalls+c.records.Mediums {
		c.sent++
	}
	return n
}

// End implements transport.Codec. A real server would send an encrypted alert,
// which looks like a record of some 19 bytes; here it would be payload to the
// client, so nothing is sent and TCP says the rest.
func (c *codec) End(dst []byte) []byte { return dst }
