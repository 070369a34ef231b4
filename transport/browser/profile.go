package browser

import (
	"errors"
	"io"
	"time"
)

// Profile is how one browser speaks. It is not changed once it has been read,
// and may be used by many connections at a time.
type Profile struct {
	Format   int    `json:"format"`
	Name     string `json:"name"`     // such as "chromium-156-linux"
	Captured string `json:"captured"` // the day, as 2026-11-21
	Browser  string `json:"browser"`  // as the browser calls itself, with its full version

	TLS       TLS       `json:"tls"`
	WebSocket WebSocket `json:"websocket"`
	HTTP2     HTTP2     `json:"http2"`
}

// TLS is what a ClientHello of the browser says. GREASE (RFC 8701) in a list is
// the place where the browser puts a number that it draws for each connection.
type TLS struct {
	CipherSuites        Numbers     `json:"cipher_suites"`
	Versions            Numbers     `json:"versions"`
	Groups              Numbers     `json:"groups"`
	KeyShares           Numbers     `json:"key_shares"`
	SignatureAlgorithms Numbers     `json:"signature_algorithms"`
	Protocols           []string    `json:"protocols"`
	ECHPayloads         []int       `json:"ech_payloads"` // sizes of the payload in an ECH extension without ECH
	Shuffle             bool        `json:"shuffle"`      // the order of extensions is drawn
	Extensions          []Extension `json:"extensions"`
}

// Extension is one of a ClientHello. Body is what it always says; it is empty
// for those that are made from the lists of TLS, or for each connection.
type Extension struct {
	ID   Number `json:"id"`
	Body Hex    `json:"body,omitempty"`
}

// WebSocket is what differs where the browser opens one.
type WebSocket struct {
	Protocols []string `json:"protocols"` // in the hello
	Without   Numbers  `json:"without"`   // extensions that this hello lacks
	Fields    []Field  `json:"fields"`    // of the request, as sent over HTTP/1.1
}

// HTTP2 is how the browser speaks HTTP/2 (RFC 9113).
type HTTP2 struct {
	Settings []Setting `json:"settings"` // in order; GREASE: identifier and value are drawn
	Window   uint32    `json:"window"`   // WINDOW_UPDATE of the connection; 0: none
	Pseudo   []string  `json:"pseudo"`   // order of the pseudo-header fields
	Priority *Priority `json:"priority"` // in HEADERS; nil: none

	Page   []Field `json:"page"`   // fields of a visit to a page
	Get    []Field `json:"get"`    // of a GET by fetch() on that page
	Post   []Field `json:"post"`   // of a POST with a body of known length
	Stream []Field `json:"stream"` // of a POST whose body has no length
}

// Setting is one of a SETTINGS frame.
type Setting struct {
	ID    Number `json:"id"`
	Value uint32 `json:"value"`
}

// Priority is what a HEADERS frame says of a stream's place among others.
type Priority struct {
	Exclusive bool   `json:"exclusive"`
	DependsOn uint32 `json:"depends_on"`
	Weight    uint8  `json:"weight"` // as on the wire: one less than meant
}

// Field is a field of a request's head. An empty Value stands for what depends
// on the request: origin, referer, content-length, keys of WebSockets.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Number is a 16-bit number of a TLS or HTTP/2 registry.
type Number uint16

// Numbers is a list of them.
type Numbers []Number

// Hex is bytes that are written as hexadecimal digits.
type Hex []byte

// GREASE stands for a number that is drawn for each connection.
const GREASE Number = 0x0a0a

// Bundled is the profile that this program was built with.
func Bundled() *Profile { return new(Profile) }

// Read reads a profile and checks all of it.
func Read(r io.Reader) (*Profile, error) { return nil, errors.ErrUnsupported }

// Age is how long ago the profile was captured.
func (p *Profile) Age(now time.Time) time.Duration { return 0 }
