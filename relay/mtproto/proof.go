package mtproto

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	"relay/transport"
)

// proved notes what has come of a way through another relay, which says that a
// stream is open before it has reached anything. An end may be the client's doing.
func (t *Table) proved(id int16, w Way, err error) {
	switch {
	case err == nil:
		t.health.reached(id, w)
	case !t.health.doubt(w):
		t.health.failed(id, t.ways(id), w, err)
	}
}

// The first message of any client that has no key yet: req_pq_multi, in plain
// (core.telegram.org, mtproto/auth_key and mtproto/description).
const (
	reqPQ       = 0xbe7e8ef1
	plainBody   = 4 + 16                // with its nonce
	plainLength = 8 + 8 + 4 + plainBody // no key, id, length, body
)

// ask says that message, and waits for a byte of the answer.
func ask(ctx context.Context, c transport.Conn, id int16) error {
	first, up := toDC(tagIntermediate, id, drawn())
	b := binary.LittleEndian.AppendUint32(first[:], plainLength)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(time.Now().Unix())<<32)
	b = binary.LittleEndian.AppendUint32(b, plainBody)
	b = binary.LittleEndian.AppendUint32(b, reqPQ)
	b = append(b, make([]byte, 16)...)
	_, _ = rand.Read(b[len(b)-16:]) // never fails (crypto/rand)
	up.stream(frameSize).XORKeyStream(b[frameSize:], b[frameSize:])
	stop := context.AfterFunc(ctx, func() { _ = transport.Abort(c) })
	defer stop()
	_, err := c.Write(b)
	if err == nil {
		_, err = c.Read(b[:1])
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
