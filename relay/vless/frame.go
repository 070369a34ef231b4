package vless

import (
	"encoding/binary"
	"errors"

	"relay/transport"
)

// Status of a frame (Xray, common/mux/frame.go).
const (
	statusNew       = 1
	statusKeep      = 2
	statusEnd       = 3
	statusKeepAlive = 4
)

// Options of a frame.
const (
	optionData  = 1
	optionError = 2
)

// Networks.
const (
	networkTCP = 1
	networkUDP = 2
)

const (
	// frameSize is the least that a frame says behind its length.
	frameSize = 4
	// maxFrame is the most, as in Xray; the longest that is of use has 271.
	maxFrame = 512
	// maxFrameOut is the most that we put in front of data: an address of IPv6
	// is the longest that answers come from, and a name the longest of all.
	maxFrameOut = lengthSize + frameSize + 1 + 2 + 1 + 1 + 255 + lengthSize
)

var (
	errFrame  = errors.New("bad frame")
	errStatus = errors.New("unknown status of a frame")
)

// frame is what a frame says, without its data.
type frame struct {
	id      uint16
	status  byte
	option  byte
	network byte             // 0: the frame has no address
	peer    transport.Target // zero: the address cannot be used
}

// has reports whether an option is set.
func (f frame) has(option byte) bool { return f.option&option != 0 }

// parseFrame reads what stands between the length of a frame and its data. What
// follows the address is a global id, padding, or nothing.
func parseFrame(b []byte) (f frame, err error) {
	if len(b) < frameSize {
		return f, errFrame
	}
	f = frame{id: binary.BigEndian.Uint16(b), status: b[2], option: b[3]}
	rest := b[frameSize:]
	switch f.status {
	case statusNew:
		if len(rest) == 0 || rest[0] != networkTCP && rest[0] != networkUDP {
			return f, errFrame
		}
	case statusKeep:
		if len(rest) == 0 || rest[0] != networkUDP {
			return f, nil
		}
	case statusEnd, statusKeepAlive:
		return f, nil
	default:
		return f, errStatus
	}
	f.network = rest[0]
	f.peer, _, err = parseAddress(rest[1:])
	if err != nil && err != errTarget {
		return f, errFrame
	}
	return f, nil
}

// appendFrame appends a frame up to its data. A valid peer goes with it.
func appendFrame(dst []byte, f frame) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint16(append(dst, 0, 0), f.id)
	dst = append(dst, f.status, f.option)
	if f.peer.IsValid() {
		dst = appendAddress(append(dst, f.network), f.peer)
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(len(dst)-at-lengthSize))
	return dst
}
