package h2

import (
	"errors"
	"fmt"
	"syscall"
)

// Code says why a stream or a connection ended (RFC 9113, Section 7).
type Code uint32

// The codes of RFC 9113, Section 7.
const (
	NoError            Code = 0x0
	ProtocolError      Code = 0x1
	InternalError      Code = 0x2
	FlowControlError   Code = 0x3
	SettingsTimeout    Code = 0x4
	StreamClosed       Code = 0x5
	FrameSizeError     Code = 0x6
	RefusedStream      Code = 0x7
	Cancel             Code = 0x8
	CompressionError   Code = 0x9
	ConnectError       Code = 0xa
	EnhanceYourCalm    Code = 0xb
	InadequateSecurity Code = 0xc
	HTTP11Required     Code = 0xd
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR",
	"SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL",
	"COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the name that the RFC has for c.
func (c Code) String() string {
	if int64(c) < int64(len(codeNames)) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %#x", uint32(c))
}

var (
	// ErrUnprocessed says that the peer has not looked at a request: it may be sent
	// again on another connection, whatever it does.
	ErrUnprocessed = errors.New("h2: request was not processed")
	// ErrBusy says that the peer takes no more streams now. It is an ErrUnprocessed.
	ErrBusy = fmt.Errorf("%w: the peer takes no more streams", ErrUnprocessed)
)

// ResetError says that the peer has reset a stream.
type ResetError struct{ Code Code }

// Error implements error.
func (e *ResetError) Error() string { return "h2: stream reset by peer: " + e.Code.String() }

// Is makes a refused stream an ErrUnprocessed (RFC 9113, Section 8.7), and one that
// was answered and needs no more of the request (Section 8.1) what TCP has for it.
func (e *ResetError) Is(target error) bool {
	return target == ErrUnprocessed && e.Code == RefusedStream || target == syscall.EPIPE && e.Code == NoError
}

// GoAwayError says that the peer has ended a connection.
type GoAwayError struct{ Code Code }

// Error implements error.
func (e *GoAwayError) Error() string { return "h2: connection ended by peer: " + e.Code.String() }

// ViolationError says that the peer has broken the protocol, or a limit of ours,
// and that the connection was ended for it.
type ViolationError struct {
	Code Code
	What string
}

// Error implements error.
func (e *ViolationError) Error() string { return "h2: " + e.Code.String() + ": " + e.What }
