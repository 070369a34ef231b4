package hello

import (
	"encoding/binary"

	"relay/transport"
)

const (
	// MaxSize is the longest hello on the wire, with the headers of its records.
	// Chrome's with post-quantum key shares takes about 1,800 bytes.
	MaxSize = transport.MaxPeek
	// MaxRecords is how many records a hello may be divided into.
	MaxRecords = 10

	recordHeader    = 5
	messageHeader   = 4
	maxPayload      = 1 << 14 // RFC 8446, Section 5.1
	typeHandshake   = 22
	typeClientHello = 1
	// minMessage is a hello with an empty session id, one cipher suite, one
	// compression method and no extensions.
	minMessage = messageHeader + 2 + 32 + 1 + 2 + 2 + 1 + 1
)

// Match reports whether prefix is the beginning of a connection whose client
// sends a ClientHello: Yes when the whole of it is there, in whatever number of
// segments and up to [MaxRecords] records. It looks at the form of the records
// and of the message in them, not at what the message says.
func Match(prefix []byte) transport.Verdict {
	v, _, _ := scan(prefix)
	return v
}

// Record returns the record that holds the hello at the beginning of wire, and
// how many bytes of wire that is. A hello in one record is returned where it is;
// one in several is appended to dst as the one record that it would have been.
// ok is false unless [Match] says Yes.
func Record(dst, wire []byte) (record []byte, n int, ok bool) {
	v, n, records := scan(wire)
	if v != transport.Yes {
		return nil, 0, false
	}
	if records == 1 {
		return wire[:n:n], n, true
	}
	begin := len(dst)
	dst = append(dst, wire[:recordHeader]...)
	for rest := wire[:n]; len(rest) > 0; {
		end := recordHeader + int(binary.BigEndian.Uint16(rest[3:]))
		dst = append(dst, rest[recordHeader:end]...)
		rest = rest[end:]
	}
	record = dst[begin:]
	binary.BigEndian.PutUint16(record[3:], uint16(len(record)-recordHeader))
	return record, n, true
}

// Message is what a record of [Record] holds.
func Message(record []byte) []byte { return record[recordHeader:] }

// scan walks over the records that hold the hello. With Yes, n is where they end.
func scan(b []byte) (v transport.Verdict, n, records int) {
	var head [messageHeader]byte // of the message; may be divided, too
	size, got := 0, 0            // of the message; 0: not known yet
	for records < MaxRecords {
		rest := b[n:]
		if v := header(rest); v != transport.Yes {
			return v, 0, 0
		}
		records++
		payload := int(binary.BigEndian.Uint16(rest[3:]))
		n += recordHeader
		// An empty handshake record is forbidden (RFC 8446, Section 5.1).
		if payload == 0 || payload > maxPayload || n+payload > MaxSize {
			return transport.No, 0, 0
		}
		body := b[n:min(n+payload, len(b))]
		if got < messageHeader {
			copy(head[got:], body)
			if size, v = message(head[:min(got+len(body), messageHeader)]); v == transport.No {
				return v, 0, 0
			}
		}
		got += payload
		// Nothing may follow the hello in its record: the keys change there
		// (RFC 8446, Section 5.1). What is left of it needs room, and a header.
		if size > 0 && (got > size || got < size && n+payload+recordHeader+size-got > MaxSize) {
			return transport.No, 0, 0
		}
		if len(body) < payload {
			return transport.More, 0, 0
		}
		if n += payload; got == size {
			return transport.Yes, n, records
		}
	}
	return transport.No, 0, 0
}

// header judges the beginning of a record's header; Yes when it is whole.
func header(b []byte) transport.Verdict {
	switch {
	case len(b) > 0 && b[0] != typeHandshake,
		len(b) > 1 && b[1] != 3,
		// Clients write 03 01 for the sake of old servers, some 03 03.
		len(b) > 2 && b[2] != 1 && b[2] != 3:
		return transport.No
	case len(b) < recordHeader:
		return transport.More
	}
	return transport.Yes
}

// message judges the beginning of a message's header; with Yes it is whole, and
// size is that of the message.
func message(head []byte) (size int, v transport.Verdict) {
	if len(head) > 0 && head[0] != typeClientHello || len(head) > 1 && head[1] != 0 {
		return 0, transport.No
	}
	if len(head) < messageHeader {
		return 0, transport.More
	}
	size = messageHeader + int(binary.BigEndian.Uint16(head[2:]))
	if size < minMessage || size > MaxSize-recordHeader {
		return 0, transport.No
	}
	return size, transport.Yes
}
