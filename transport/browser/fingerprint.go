package browser

import (
	"crypto/md5" //nolint:gosec // JA3 is an MD5 sum; nothing secret depends on it
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// JA3 is the fingerprint of that name, over numbers in the order in which they
// are sent. Of a browser that draws the order of its extensions it is one of
// many; then it is made over the sorted extensions, and sorted is true.
func (t TLS) JA3() (sum string, sorted bool) {
	list := t.ids()
	if sorted = t.Shuffle; sorted {
		slices.Sort(list)
	}
	var formats Numbers
	for _, e := range t.Extensions {
		if e.ID == 11 && len(e.Body) > 0 {
			for _, b := range e.Body[1:] {
				formats = append(formats, Number(b))
			}
		}
	}
	parts := []string{"771"}
	for _, l := range []Numbers{known(t.CipherSuites), list, known(t.Groups), formats} {
		words := make([]string, len(l))
		for i, n := range l {
			words[i] = fmt.Sprint(uint16(n))
		}
		parts = append(parts, strings.Join(words, "-"))
	}
	d := md5.Sum([]byte(strings.Join(parts, ","))) //nolint:gosec // see the import
	return hex.EncodeToString(d[:]), sorted
}

// JA4 is the fingerprint of that name (FoxIO, technical details of JA4) of a hello
// with a server name. resumes: the hello offers a session of before.
func (t TLS) JA4(resumes bool) string { return t.ja4(t.ids(), resumes) }

func (t TLS) ja4(ids Numbers, resumes bool) string {
	if resumes {
		ids = append(slices.Clone(ids), extPreSharedKey)
	}
	name := "i"
	if slices.Contains(ids, extServerName) {
		name = "d"
	}
	version := "12"
	if slices.Contains(t.Versions, version13) {
		version = "13"
	}
	protocol := "00"
	if len(t.Protocols) > 0 {
		first := t.Protocols[0]
		protocol = first[:1] + first[len(first)-1:]
	}
	suites := known(t.CipherSuites)
	slices.Sort(suites)
	rest := slices.DeleteFunc(slices.Clone(ids), func(n Number) bool { return n == extServerName || n == extALPN })
	slices.Sort(rest)
	return fmt.Sprintf("t%s%s%02d%02d%s_%s_%s", version, name, min(len(suites), 99), min(len(ids), 99), protocol,
		short(commas(suites)), short(commas(rest)+"_"+commas(known(t.SignatureAlgorithms))))
}

// JA4 is the fingerprint of that name of one hello.
func (s Seen) JA4() string { return s.ja4(s.ids(), s.Resumes) }

// Akamai is the fingerprint of that name: settings, window, no PRIORITY frames,
// order of pseudo-header fields.
func (h HTTP2) Akamai() string {
	var settings, pseudo []string
	for _, s := range h.Settings {
		if s.ID == GREASE {
			settings = append(settings, greaseWord)
			continue
		}
		settings = append(settings, fmt.Sprintf("%d:%d", uint16(s.ID), s.Value))
	}
	for _, name := range h.Pseudo {
		pseudo = append(pseudo, name[1:2])
	}
	return fmt.Sprintf("%s|%d|0|%s", strings.Join(settings, ";"), h.Window, strings.Join(pseudo, ","))
}

// ids are the extensions without GREASE.
func (t TLS) ids() Numbers {
	var out Numbers
	for _, e := range t.Extensions {
		if e.ID != GREASE {
			out = append(out, e.ID)
		}
	}
	return out
}

// known is a list without GREASE.
func known(l Numbers) Numbers {
	return slices.DeleteFunc(slices.Clone(l), func(n Number) bool { return n == GREASE })
}

func commas(l Numbers) string { return strings.ReplaceAll(l.String(), " ", ",") }

// short is a hash as JA4 has it.
func short(s string) string {
	if s == "" || s == "_" {
		return strings.Repeat("0", 12)
	}
	d := sha256.Sum256([]byte(strings.TrimSuffix(s, "_")))
	return hex.EncodeToString(d[:6])
}

// Differences says what another profile has that this one has not, a line each;
// none: a watcher sees the same browser.
func (p *Profile) Differences(other *Profile) []string {
	var out []string
	differ := func(name string, a, b any) {
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			out = append(out, fmt.Sprintf("%s: %s, and not %s", name, x, y))
		}
	}
	a, b := &p.TLS, &other.TLS
	differ("tls.cipher_suites", a.CipherSuites, b.CipherSuites)
	differ("tls.versions", a.Versions, b.Versions)
	differ("tls.groups", a.Groups, b.Groups)
	differ("tls.key_shares", a.KeyShares, b.KeyShares)
	differ("tls.signature_algorithms", a.SignatureAlgorithms, b.SignatureAlgorithms)
	differ("tls.protocols", a.Protocols, b.Protocols)
	differ("tls.ech_payloads", a.ECHPayloads, b.ECHPayloads)
	differ("tls.shuffle", a.Shuffle, b.Shuffle)
	differ("tls.extensions", extensionTexts(a), extensionTexts(b))
	differ("websocket.protocols", p.WebSocket.Protocols, other.WebSocket.Protocols)
	differ("websocket.without", p.WebSocket.Without, other.WebSocket.Without)
	differ("http2", p.HTTP2.Akamai(), other.HTTP2.Akamai())
	differ("http2.priority", priority(p.HTTP2.Priority), priority(other.HTTP2.Priority))
	for _, l := range []struct {
		name string
		a, b []Field
	}{
		{"websocket.fields", p.WebSocket.Fields, other.WebSocket.Fields},
		{"http2.page", p.HTTP2.Page, other.HTTP2.Page},
		{"http2.get", p.HTTP2.Get, other.HTTP2.Get},
		{"http2.post", p.HTTP2.Post, other.HTTP2.Post},
		{"http2.stream", p.HTTP2.Stream, other.HTTP2.Stream},
	} {
		out = append(out, fieldDifferences(l.name, l.a, l.b)...)
	}
	return out
}

// fieldDifferences names the fields that differ, and not the whole lists.
func fieldDifferences(name string, a, b []Field) (out []string) {
	for _, f := range a {
		if !slices.Contains(b, f) {
			out = append(out, fmt.Sprintf("%s: only here %q", name, f))
		}
	}
	for _, f := range b {
		if !slices.Contains(a, f) {
			out = append(out, fmt.Sprintf("%s: only there %q", name, f))
		}
	}
	if len(out) == 0 && !slices.Equal(a, b) {
		out = append(out, name+": another order")
	}
	return out
}

// extensionTexts are the extensions in an order that says what the browser's does.
func extensionTexts(t *TLS) []string {
	list := t.Extensions
	if t.Shuffle {
		list = ordered(list)
	}
	out := make([]string, len(list))
	for i, e := range list {
		b, _ := e.MarshalText()
		out[i] = string(b)
	}
	return out
}

func priority(p *Priority) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *p)
}
