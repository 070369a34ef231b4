package browser

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// format is the version of profiles that this package reads and writes.
const format = 1

// Profile is how one browser speaks. It is not changed once it has been read,
// and may be used by many connections at a time.
type Profile struct {
	Format   int    `json:"format"`
	Name     string `json:"name"`     // such as "chromium-156-linux"
	Captured string `json:"captured"` // the day, as 2026-11-21

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
	ECHPayloads         []int       `json:"ech_payloads,omitempty"` // sizes of the payload in an ECH extension without ECH
	Shuffle             bool        `json:"shuffle,omitempty"`      // the order of extensions is drawn
	Extensions          []Extension `json:"extensions"`
}

// Extension is one of a ClientHello. Body is what it always says; it is empty
// for those that are made from the lists of TLS, or for each connection.
type Extension struct {
	ID   Number
	Body []byte
}

// WebSocket is what differs where the browser opens one.
type WebSocket struct {
	Protocols []string `json:"protocols"`         // in the hello
	Without   Numbers  `json:"without,omitempty"` // extensions that this hello lacks
	Fields    []Field  `json:"fields"`            // of the request, over HTTP/1.1
}

// HTTP2 is how the browser speaks HTTP/2 (RFC 9113).
type HTTP2 struct {
	Settings []Setting `json:"settings"`           // in order; GREASE: number and value are drawn
	Window   uint32    `json:"window"`             // WINDOW_UPDATE of the connection; 0: none
	Pseudo   []string  `json:"pseudo"`             // order of the pseudo-header fields
	Priority *Priority `json:"priority,omitempty"` // in HEADERS; nil: none

	Page   []Field `json:"page"`             // fields of a visit to a page
	Get    []Field `json:"get"`              // of a GET by fetch() on that page
	Post   []Field `json:"post"`             // of a POST with a body of known length
	Stream []Field `json:"stream,omitempty"` // of a POST whose body has no length; nil: it cannot
}

// Setting is one of a SETTINGS frame.
type Setting struct {
	ID    Number
	Value uint32
}

// Priority is what a HEADERS frame says of a stream's place among others.
type Priority struct {
	Exclusive bool   `json:"exclusive"`
	DependsOn uint32 `json:"depends_on"`
	Weight    uint8  `json:"weight"` // as on the wire: one less than meant
}

// Field is a field of a request's head. An empty Value stands for what depends
// on the request: origin, referer, content-length, the key of a WebSocket.
type Field struct {
	Name  string // in lower case, but for a WebSocket
	Value string
}

// UserAgent is how the browser calls itself.
func (p *Profile) UserAgent() string { return agent(p.HTTP2.Page) }

// Age is how long ago the profile was captured, in whole days.
func (p *Profile) Age(now time.Time) time.Duration {
	day, err := time.Parse(time.DateOnly, p.Captured)
	if err != nil {
		return 0 // Read has refused it
	}
	return max(0, now.Sub(day).Truncate(24*time.Hour))
}

// difference is what the hello of a WebSocket lacks.
func difference(page, ws TLS) (WebSocket, error) {
	out := WebSocket{Protocols: ws.Protocols}
	for _, e := range page.Extensions {
		if e.ID != GREASE && !slices.ContainsFunc(ws.Extensions, func(w Extension) bool { return w.ID == e.ID }) {
			out.Without = append(out.Without, e.ID)
		}
	}
	page.Extensions = slices.DeleteFunc(slices.Clone(page.Extensions), func(e Extension) bool {
		return slices.Contains(out.Without, e.ID)
	})
	if !slices.EqualFunc(ordered(page.Extensions), ordered(ws.Extensions), sameExtension) ||
		!slices.Equal(page.CipherSuites, ws.CipherSuites) || !slices.Equal(page.Groups, ws.Groups) ||
		!slices.Equal(page.KeyShares, ws.KeyShares) || !slices.Equal(page.SignatureAlgorithms, ws.SignatureAlgorithms) {
		return out, errors.New("browser: the hello of a WebSocket differs from that of a page in more than its protocols")
	}
	return out, nil
}

// headed makes the fields of a headless browser those of one with a window: a
// visitor who calls himself headless is a robot to every site. Headless Chromium
// has the brand of its mode where Chrome has its own.
func headed(p *Profile) {
	for _, list := range [][]Field{p.HTTP2.Page, p.HTTP2.Get, p.HTTP2.Post, p.HTTP2.Stream, p.WebSocket.Fields} {
		for i, f := range list {
			brand := "Chrome"
			if f.Name == "sec-ch-ua" {
				brand = "Google Chrome"
			}
			list[i].Value = strings.ReplaceAll(f.Value, "HeadlessChrome", brand)
		}
	}
}
