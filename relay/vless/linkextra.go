package vless

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Extra is what a link says about XHTTP beyond its parameters: JSON, as Xray has it in
// its configuration (infra/conf/transport_internet.go, SplitHTTPConfig).
type Extra struct {
	Raw       string            `json:"-"` // as it was written
	XMux      XMux              `json:"xmux"`
	Padding   Range             `json:"xPaddingBytes"`
	PostBytes Range             `json:"scMaxEachPostBytes"`
	PostEvery Range             `json:"scMinPostsIntervalMs"`
	Headers   map[string]string `json:"headers"`
	NoGRPC    bool              `json:"noGRPCHeader"`
}

// XMux is how streams share connections.
type XMux struct {
	MaxConcurrency Range `json:"maxConcurrency"`   // streams at a time in one
	MaxConnections Range `json:"maxConnections"`   // how many there are
	MaxReuse       Range `json:"cMaxReuseTimes"`   // streams in the life of one
	MaxRequests    Range `json:"hMaxRequestTimes"` // requests in the life of one
	MaxSeconds     Range `json:"hMaxReusableSecs"` // how long one takes new streams
	KeepAlive      int   `json:"hKeepAlivePeriod"` // in seconds; 0: as a browser, negative: none
}

// Range is two numbers between which one is drawn, both included. The zero Range says
// nothing.
type Range struct{ From, To int }

// maxNumber bounds the numbers of an Extra: bytes of a request, seconds, requests.
const maxNumber = 1 << 30

var errRange = errors.New("want a number or two with a hyphen between")

// UnmarshalJSON implements json.Unmarshaler: a number, or a string of one or two.
func (r *Range) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	}
	from, to, two := strings.Cut(s, "-")
	if !two {
		to = from
	}
	if s == "" || s == "null" {
		return nil
	}
	low, err1 := strconv.ParseUint(from, 10, 31)
	high, err2 := strconv.ParseUint(to, 10, 31)
	if err1 != nil || err2 != nil || max(low, high) > maxNumber {
		return errRange
	}
	*r = Range{int(min(low, high)), int(max(low, high))}
	return nil
}

// extraOther is what changes the form of requests so that we could not follow.
type extraOther struct {
	Download         json.RawMessage `json:"downloadSettings"`
	Obfuscated       bool            `json:"xPaddingObfsMode"`
	Method           string          `json:"uplinkHTTPMethod"`
	SessionPlace     string          `json:"sessionPlacement"`
	SessionIDPlace   string          `json:"sessionIDPlacement"` // its name since June 2026
	NumberPlace      string          `json:"seqPlacement"`
	UplinkPlace      string          `json:"uplinkDataPlacement"`
	SessionIDSymbols string          `json:"sessionIDTable"`
}

// extraKnown are the keys that are read, or are a server's, or stand in the link's own
// parameters, or belong to what is refused.
var extraKnown = []string{
	"xmux", "xpaddingbytes", "scmaxeachpostbytes", "scminpostsintervalms", "headers", "nogrpcheader",
	"downloadsettings", "xpaddingobfsmode", "uplinkhttpmethod", "sessionplacement", "sessionidplacement", "seqplacement", "uplinkdataplacement", "sessionidtable",
	"nosseheader", "scmaxbufferedposts", "scstreamupserversecs", "servermaxheaderbytes",
	"host", "path", "mode",
}

// maxPadding is the most padding of one request: servers bound their heads.
const maxPadding = 8 << 10

// readExtra reads the parameter extra.
func (l *Link) readExtra(p *parameters) error {
	if l.Type != TypeXHTTP {
		return nil
	}
	raw := p.take("extra")
	if raw == "" {
		return nil
	}
	var keys map[string]json.RawMessage
	var other extraOther
	x := Extra{Raw: raw}
	b := []byte(raw)
	if json.Unmarshal(b, &keys) != nil || keys == nil || json.Unmarshal(b, &other) != nil || json.Unmarshal(b, &x) != nil {
		return bad("extra", "the settings of XHTTP in JSON")
	}
	if err := other.refused(); err != nil {
		return err
	}
	if x.Padding != (Range{}) && (x.Padding.From == 0 || x.Padding.To > maxPadding) {
		return bad("extra.xPaddingBytes", "from 1 to "+strconv.Itoa(maxPadding))
	}
	if x.XMux.KeepAlive > maxNumber {
		return bad("extra.xmux.hKeepAlivePeriod", "seconds")
	}
	for name, value := range x.Headers {
		if !validHeader(name, value) {
			return bad("extra.headers", "names and values of headers, and no Host")
		}
	}
	for key := range keys {
		if !slices.Contains(extraKnown, strings.ToLower(key)) {
			l.Unknown = append(l.Unknown, "extra."+printable(key))
		}
	}
	slices.Sort(l.Unknown) // a map has no order
	l.Extra = x
	return nil
}

func (o extraOther) refused() error {
	const ask = "ask for a link without it"
	place := func(s, usual string) bool { return s != "" && s != usual }
	switch {
	case len(o.Download) > 0 && !bytes.Equal(o.Download, []byte("null")):
		return refuse("a way of its own for downloads (downloadSettings)", ask)
	case o.Obfuscated:
		return refuse("padding in other places (xPaddingObfsMode)", ask)
	case o.Method != "" && !strings.EqualFold(o.Method, "POST"):
		return refuse("another method than POST (uplinkHTTPMethod)", ask)
	case place(o.SessionPlace, "path"), place(o.SessionIDPlace, "path"), place(o.NumberPlace, "path"):
		return refuse("a session outside of the path (sessionPlacement, seqPlacement)", ask)
	case place(o.UplinkPlace, "body") && o.UplinkPlace != "auto":
		return refuse("uplink outside of bodies (uplinkDataPlacement)", ask)
	case o.SessionIDSymbols != "":
		return refuse("ids of sessions of its own (sessionIDTable)", ask)
	}
	return nil
}

// validHeader accepts a token and printable text (RFC 9110, Sections 5.1 and 5.5).
func validHeader(name, value string) bool {
	if name == "" || strings.EqualFold(name, "host") {
		return false
	}
	token := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	for _, r := range name {
		if !token(r) {
			return false
		}
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}
