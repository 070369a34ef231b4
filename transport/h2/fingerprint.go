package h2

import "cmp"

import "time"

// The settings of RFC 9113, Section 6.5.2.
const (
	SettingHeaderTableSize      = 0x1
	SettingEnablePush           = 0x2
	SettingMaxConcurrentStreams = 0x3
	SettingInitialWindowSize    = 0x4
	SettingMaxFrameSize         = 0x5
	SettingMaxHeaderListSize    = 0x6
)

// Fingerprint is how a browser speaks HTTP/2. It is plain data.
type Fingerprint struct {
	// Settings are sent in this order. Known ones hold for the connection too. A
	// setting that means nothing, as Chrome sends, is drawn by the caller.
	Settings []Setting
	// Window is by how much the connection's window is opened after SETTINGS; 0:
	// not at all.
	Window uint32
	// Pseudo is the order of the pseudo-header fields; nil: Chrome's, which is
	// ":method", ":authority", ":scheme", ":path".
	Pseudo []string
	// Priority goes with every request; nil: none does.
	Priority *Priority
	// Apart says that each frame is a write, and so a TLS record, of its own; what
	// opens the connection is one. Chrome writes so. Else what is there is one write.
	Apart bool
	// Ping is how long the peer may be silent before a request goes out with a PING
	// behind its head; 0: for ever. Chrome's is 10 s.
	Ping time.Duration
	// Frame is how many bytes a DATA frame carries at most; 0: FullFrame.
	Frame int
}

// Setting is one entry of a SETTINGS frame.
type Setting struct {
	ID    uint16
	Value uint32
}

// Priority is what a HEADERS frame says of the order of streams (RFC 7540,
// Section 5.3).
type Priority struct {
	Exclusive bool
	DependsOn uint32
	// Chain makes a request depend on the last one that is still open, as
	// Chrome's do, and on DependsOn if there is none.
	Chain bool
	// Weight is as on the wire: one less than what it stands for. It holds for
	// requests whose Head has none.
	Weight uint8
}

// Field is a header field. Names are in lower case.
type Field struct{ Name, Value string }

// Head is the head of a request. The fields go out in their order.
type Head struct {
	Method, Scheme, Authority, Path string
	Fields                          []Field
	Weight                          uint8 // in the place of Priority's; 0: that
}

func (h *Head) weight(p *Priority) uint8 { return cmp.Or(h.Weight, p.Weight) }

// chromePseudo is the order of Chrome's pseudo-header fields.
var chromePseudo = []string{":method", ":authority", ":scheme", ":path"}

// setting returns the value of a setting, or what holds without it.
func setting(list []Setting, id uint16, without uint32) uint32 {
	for _, s := range list {
		if s.ID == id {
			return s.Value
		}
	}
	return without
}
