package transport

// Codec is what a layer does to the bytes of one connection: a cipher, records,
// frames. It neither reads nor writes, so that whoever moves the bytes can run
// it over buffers of his own: [Coded] for a layer in use, the splice core for a
// joined pair. Payload is what the layer above sees, wire what the connection
// below carries.
//
// The two directions, Decode with Ended and Encode with End, may run at the same
// time; calls of one direction never overlap. Results may share dst's memory and
// never share the input's. A codec holds no memory for a connection on which
// nothing is pending, beyond its state.
type Codec interface {
	// Decode takes bytes from the wire, all of them, and appends the payload
	// that they complete to dst. io.EOF says that the peer has ended its
	// direction within the protocol; what follows on the wire is not looked
	// at. After any other error the connection is to be reset. Both may come
	// with payload.
	Decode(dst, wire []byte) (payload []byte, err error)
	// Ended is asked when the wire ends: nil if a peer may end here, an error
	// if it has broken off in the middle.
	Ended() error
	// Encode appends payload, all of it, to dst as it goes over the wire.
	Encode(dst, payload []byte) (wire []byte, err error)
	// End appends what tells the peer, within the protocol, that no payload
	// follows. It is the last call of its direction.
	End(dst []byte) (wire []byte)
}

// Replier is a Codec that may have to say something to its peer by itself: a
// pong, the answer to a key update.
type Replier interface {
	// ReplyDue reports whether there is something to say. It is asked after
	// each Decode and counts as a call of that direction. As long as a reply
	// waits for room, nothing more is decoded.
	ReplyDue() bool
	// Reply appends what is due to dst. It counts as a call of the direction of
	// Encode.
	Reply(dst []byte) (wire []byte)
}

// Passer is a Codec that may leave payload as it is on its way out: a cipher that
// the peer takes off by itself. Encode need not be called then, which saves a copy.
type Passer interface {
	// PassesOut reports whether Encode only copies. The answer never changes.
	PassesOut() bool
}

// PassesOut reports whether payload leaves c unchanged.
func PassesOut(c Codec) bool {
	p, ok := c.(Passer)
	return ok && p.PassesOut()
}

// Framer is a Codec whose wire is payload in records, unchanged, behind headers.
// The kernel can move the payload then.
type Framer interface {
	// Frame stands for Encode of up to n bytes of payload: it appends what goes
	// in front of the next size of them to dst. Nothing goes behind them.
	Frame(dst []byte, n int) (header []byte, size int)
	// FrameSize is how much payload the next one takes at most. Small ones are
	// cheaper to copy.
	FrameSize() int
}
