package web

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"

	"relay/transport/browser"
	"relay/transport/h2"
)

// ask makes the head of a request, as the browser of the profile has it: its fields in
// its order, those filled in that depend on the request.
func (c *Client) ask(method, path string, fields []browser.Field, length int) h2.Head {
	return c.askPadded(method, path, fields, length, between(leastPadding, mostPadding))
}

// askPadded is ask with a size of padding. Requests for streams need that of SPEC.md,
// Section 4.1.
func (c *Client) askPadded(method, path string, fields []browser.Field, length, pad int) h2.Head {
	head := h2.Head{Method: method, Scheme: "https", Authority: c.way.Authority, Path: path}
	head.Fields = make([]h2.Field, 0, len(fields)+1)
	head.Weight = weight(fields)
	typed := length >= 0 || method != "POST"
	for _, f := range fields {
		v := f.Value
		switch f.Name {
		case "origin":
			v = "https://" + c.way.Authority
		case "referer":
			v = "https://" + c.way.Authority + path + "?" + paddingKey + "=" + longPadding[:pad]
		case "content-length":
			if length < 0 {
				continue
			}
			v = strconv.Itoa(length)
		case "content-type":
			if !typed {
				// Content delivery networks pass the bodies of this type on as
				// they come, which is why Xray's clients send it.
				v, typed = "application/grpc", true
			}
		}
		if v != "" {
			head.Fields = append(head.Fields, h2.Field{Name: f.Name, Value: v})
		}
	}
	if !typed {
		head.Fields = append(head.Fields, h2.Field{Name: "content-type", Value: "application/grpc"})
	}
	return head
}

// newSession draws the name of a session.
func newSession() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newKey draws the key of a WebSocket's handshake.
func newKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(b[:])
}

// chromePing is after how long a silence Chrome sends a PING behind a request.
const chromePing = 10 * time.Second

// weights are those of Chrome's HEADERS by the urgency in the field "priority" (RFC
// 9218, Section 4.1), as on the wire.
var weights = [...]uint8{255, 219, 182, 146, 109}

// weight is that of a request with such fields; 0: they do not say.
func weight(fields []browser.Field) uint8 {
	for _, f := range fields {
		if urgency, ok := strings.CutPrefix(f.Value, "u="); ok && f.Name == "priority" && urgency != "" {
			if i := int(urgency[0] - '0'); i >= 0 && i < len(weights) {
				return weights[i]
			}
		}
	}
	return 0
}

// fingerprint is how the browser of a profile speaks HTTP/2.
func fingerprint(p *browser.Profile) *h2.Fingerprint {
	f := &h2.Fingerprint{Window: p.HTTP2.Window, Pseudo: p.HTTP2.Pseudo}
	for _, s := range p.HTTP2.Settings {
		id, value := uint16(s.ID), s.Value
		if s.ID == browser.GREASE {
			// As Chrome draws them: any identifier of the form that RFC 8701
			// keeps free, and any value.
			id, value = uint16(mathrand.N(16))*0x1010+0x0a0a, mathrand.Uint32() //nolint:gosec // nothing secret
		}
		f.Settings = append(f.Settings, h2.Setting{ID: id, Value: value})
	}
	if q := p.HTTP2.Priority; q != nil {
		// A browser that makes streams exclusive hangs each on the last that is open,
		// and Chrome, which does, writes each frame by itself.
		f.Priority = &h2.Priority{Exclusive: q.Exclusive, DependsOn: q.DependsOn, Weight: q.Weight, Chain: q.Exclusive}
		f.Apart = q.Exclusive
		if q.Exclusive {
			f.Ping = chromePing
		}
	}
	return f
}
