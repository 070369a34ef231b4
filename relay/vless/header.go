package vless

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"relay/transport"
)

const version = 0

// Commands (Xray, common/protocol/headers.go).
const (
	commandTCP = 1
	commandUDP = 2
	commandMux = 3
)

// Types of address. All of them come with the port in front.
const (
	addressIPv4 = 1
	addressName = 2
	addressIPv6 = 3
)

const (
	idSize   = 16
	idEnd    = 1 + idSize
	addonsAt = idEnd + 1
)

// Faults of an opening. errShort says that more bytes are needed; errTarget is an
// address that is well-formed and cannot be used.
var (
	errShort       = errors.New("more bytes are needed")
	errVersion     = errors.New("bad version")
	errCommand     = errors.New("unknown command")
	errAddressType = errors.New("unknown address type")
	errTarget      = errors.New("bad target")
	errAddons      = errors.New("bad addons")
	errFlow        = errors.New("a flow is not served here: leave it empty in the client")
)

// header is the opening of a client.
type header struct {
	id      [idSize]byte
	flow    string
	command byte
	target  transport.Target // of commands 1 and 2
}

// parseHeader reads an opening from the beginning of b. n is its length, or with
// errShort how many bytes are needed to go on.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < addonsAt {
		return h, addonsAt, errShort
	}
	if b[0] != version {
		return h, 0, errVersion
	}
	copy(h.id[:], b[1:])
	n = addonsAt + int(b[idEnd]) + 1
	if len(b) < n {
		return h, n, errShort
	}
	if h.flow, err = parseAddons(b[addonsAt : n-1]); err != nil {
		return h, 0, err
	}
	switch h.command = b[n-1]; h.command {
	case commandMux:
		return h, n, nil
	case commandTCP, commandUDP:
		var size int
		h.target, size, err = parseAddress(b[n:])
		return h, n + size, err
	}
	return h, 0, errCommand
}

// parseAddress reads port and address from the beginning of b. n is their length,
// or with errShort how many bytes are needed to go on.
func parseAddress(b []byte) (t transport.Target, n int, err error) {
	// Four bytes: up to the length of a name. Every address is longer.
	if len(b) < 4 {
		return t, 4, errShort
	}
	port, host := binary.BigEndian.Uint16(b), 3
	switch b[2] {
	case addressIPv4:
		n = host + 4
	case addressIPv6:
		n = host + 16
	case addressName:
		host++
		n = host + int(b[3])
	default:
		return t, 0, errAddressType
	}
	if len(b) < n {
		return t, n, errShort
	}
	if b[2] == addressName {
		t, err = transport.NameTarget(string(b[host:n]), port)
	} else {
		addr, _ := netip.AddrFromSlice(b[host:n])
		t, err = transport.AddrTarget(netip.AddrPortFrom(addr, port))
	}
	if err != nil {
		err = errTarget // without the address in it
	}
	return t, n, err
}

// appendAddress appends port and address of a valid target.
func appendAddress(dst []byte, t transport.Target) []byte {
	dst = binary.BigEndian.AppendUint16(dst, t.Port())
	switch {
	case t.IsName():
		dst = append(dst, addressName, byte(len(t.Name())))
		return append(dst, t.Name()...)
	case t.Addr().Is4():
		a := t.Addr().As4()
		return append(append(dst, addressIPv4), a[:]...)
	}
	a := t.Addr().As16()
	return append(append(dst, addressIPv6), a[:]...)
}

// Wire types of protobuf that are in use.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// Fields of the addons. Any but the flow is skipped.
const (
	fieldFlow = 1
	fieldSeed = 2
)

// parseAddons reads the flow from a protobuf message of up to 255 bytes.
func parseAddons(b []byte) (flow string, err error) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 {
			return "", errAddons
		}
		b = b[n:]
		size, skip := uint64(0), 0
		switch tag & 7 {
		case wireVarint:
			if _, skip = binary.Uvarint(b); skip <= 0 {
				return "", errAddons
			}
		case wireFixed64:
			size = 8
		case wireFixed32:
			size = 4
		case wireBytes:
			if size, skip = binary.Uvarint(b); skip <= 0 {
				return "", errAddons
			}
		default: // groups, which nobody has used for twenty years
			return "", errAddons
		}
		b = b[skip:]
		if size > uint64(len(b)) {
			return "", errAddons
		}
		if tag == fieldFlow<<3|wireBytes {
			flow = string(b[:size])
		}
		b = b[size:]
	}
	return flow, nil
}
