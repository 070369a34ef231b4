package browser

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a profile: people exchange them, and a hello made from one has to
// fit where servers and middleboxes look for it.
const (
	maxProfile  = 64 << 10
	maxNumbers  = 64
	maxBodies   = 8 << 10 // of all extensions together
	maxSettings = 16
	maxECH      = 1 << 10
	maxProtocol = 32
	maxValue    = 512
)

//go:embed profiles/chromium-156-linux.json
var bundled []byte

// Bundled is the profile that this program was built with.
func Bundled() *Profile { return readBundled() }

var readBundled = sync.OnceValue(func() *Profile {
	p, err := Read(bytes.NewReader(bundled))
	if err != nil {
		panic(err) // the tests read it, too
	}
	return p
})

// Read reads a profile and checks all of it. The error names every fault.
func Read(r io.Reader) (*Profile, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxProfile+1))
	if err != nil {
		return nil, fmt.Errorf("browser: read a profile: %w", err)
	}
	if len(b) > maxProfile {
		return nil, fmt.Errorf("browser: a profile is no longer than %d bytes", maxProfile)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	var p Profile
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err == nil && head.Format != format {
		return nil, fmt.Errorf("browser: the profile has format %d, and this program reads %d: capture it again, or take a program that knows it", head.Format, format)
	}
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("browser: not a profile: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("browser: something follows the profile in its file")
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("browser: profile: %w", err)
	}
	return &p, nil
}

// Encode writes a profile as [Read] reads it.
func (p *Profile) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var (
	nameForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)
	fieldForm    = regexp.MustCompile(`^[!#$%&'*+.^_|~0-9A-Za-z-]{1,64}$`) // RFC 9110, Section 5.6.2
	protocolForm = regexp.MustCompile(`^[!-~]{1,32}$`)
)

// faults collects what is wrong with a profile.
type faults []error

func (f *faults) add(bad bool, text string, args ...any) {
	if bad {
		*f = append(*f, fmt.Errorf(text, args...))
	}
}

func (p *Profile) check() error {
	var f faults
	f.add(!nameForm.MatchString(p.Name), "name: %.70q: write up to 64 small letters, digits, dots and dashes", p.Name)
	_, err := time.Parse(time.DateOnly, p.Captured)
	f.add(err != nil, "captured: %.20q is not a day such as 2026-11-22", p.Captured)
	p.TLS.check(&f)
	p.WebSocket.check(&f, &p.TLS)
	p.HTTP2.check(&f)
	f.add(p.UserAgent() == unknownAgent, "http2.page: there is no user-agent")
	return errors.Join(f...)
}

func (t *TLS) check(f *faults) {
	for _, l := range []struct {
		name string
		list Numbers
		need []Number // one of these
	}{
		{"cipher_suites", t.CipherSuites, []Number{0x1301, 0x1302, 0x1303}},
		{"versions", t.Versions, []Number{version13}},
		{"groups", t.Groups, []Number{groupX25519, groupP256, groupP384}},
		{"key_shares", t.KeyShares, []Number{groupX25519, groupP256, groupP384}},
		{"signature_algorithms", t.SignatureAlgorithms, []Number{0x0403, 0x0804}},
	} {
		f.add(len(l.list) > maxNumbers, "tls.%s: %d numbers are more than %d", l.name, len(l.list), maxNumbers)
		f.add(repeats(l.list), "tls.%s: a number is there twice", l.name)
		f.add(!slices.ContainsFunc(l.need, func(n Number) bool { return slices.Contains(l.list, n) }),
			"tls.%s: one of %v is needed", l.name, Numbers(l.need))
	}
	for _, n := range t.Versions {
		f.add(n != GREASE && n != version13 && n != version12, "tls.versions: %s is neither 0304 nor 0303", n)
	}
	classic := 0
	for _, n := range t.KeyShares {
		switch n {
		case GREASE, groupX25519MLKEM768:
		case groupX25519, groupP256, groupP384, groupP521:
			classic++
		default:
			f.add(true, "tls.key_shares: this program has no keys for group %s", n)
		}
		f.add(!slices.Contains(t.Groups, n), "tls.key_shares: group %s is not among the groups", n)
	}
	// The library keeps the private key of one (utls issue 237).
	f.add(classic > 1, "tls.key_shares: one of x25519 and the P groups is what this program can have, not %d", classic)
	checkProtocols(f, "tls.protocols", t.Protocols)
	f.add(len(t.ECHPayloads) > maxNumbers, "tls.ech_payloads: %d sizes are more than %d", len(t.ECHPayloads), maxNumbers)
	for _, n := range t.ECHPayloads {
		f.add(n <= echTag || n > maxECH, "tls.ech_payloads: %d is not within %d and %d", n, echTag+1, maxECH)
	}
	t.checkExtensions(f)
}

func (t *TLS) checkExtensions(f *faults) {
	f.add(len(t.Extensions) > maxNumbers, "tls.extensions: %d are more than %d", len(t.Extensions), maxNumbers)
	var ids Numbers
	grease, size := 0, 0
	for i, e := range t.Extensions {
		size += len(e.Body)
		f.add(made(e.ID) && len(e.Body) > 0, "tls.extensions: %s is made from the lists, and has no body here", e.ID)
		if e.ID == GREASE {
			grease++
			f.add(t.Shuffle && i != 0 && i != len(t.Extensions)-1, "tls.extensions: grease is first or last where the order is drawn")
			continue
		}
		f.add(e.ID == extPreSharedKey, "tls.extensions: pre_shared_key (0029) is added where a session resumes")
		f.add(e.ID == extEarlyData || e.ID == extCookie, "tls.extensions: %s has no place in a first hello", e.ID)
		f.add(slices.Contains(ids, e.ID), "tls.extensions: %s is there twice", e.ID)
		f.add(!constant(e), "tls.extensions: %s: its body is malformed", e.ID)
		ids = append(ids, e.ID)
	}
	f.add(size > maxBodies, "tls.extensions: bodies of %d bytes are more than %d", size, maxBodies)
	f.add(grease > 2, "tls.extensions: more than two are grease")
	for _, n := range []Number{extServerName, extGroups, extSignatureAlgorithms, extALPN, extVersions, extKeyShare} {
		f.add(!slices.Contains(ids, n), "tls.extensions: %s is missing, which every browser sends", n)
	}
	f.add(slices.Contains(ids, extECH) != (len(t.ECHPayloads) > 0), "tls.ech_payloads: there are some if, and only if, fe0d is among the extensions")
}

func repeats(l Numbers) bool {
	for i, n := range l {
		if slices.Contains(l[:i], n) {
			return true
		}
	}
	return false
}

func checkProtocols(f *faults, name string, list []string) {
	f.add(len(list) == 0 || len(list) > maxProtocol, "%s: there are between 1 and %d", name, maxProtocol)
	for _, p := range list {
		f.add(!protocolForm.MatchString(p), "%s: %.40q is not the name of a protocol", name, p)
	}
}

func (w *WebSocket) check(f *faults, t *TLS) {
	checkProtocols(f, "websocket.protocols", w.Protocols)
	for _, n := range w.Without {
		f.add(!slices.ContainsFunc(t.Extensions, func(e Extension) bool { return e.ID == n }) || made(n),
			"websocket.without: %s is not an extension that may be left out", n)
	}
	f.add(len(w.Without) > maxNumbers, "websocket.without: %d are more than %d", len(w.Without), maxNumbers)
	checkFields(f, "websocket.fields", w.Fields)
}

func (h *HTTP2) check(f *faults) {
	f.add(len(h.Settings) > maxSettings, "http2.settings: %d are more than %d", len(h.Settings), maxSettings)
	f.add(h.Window >= 1<<31-1<<16, "http2.window: %d is more than a window may grow", h.Window)
	sorted := slices.Sorted(slices.Values(h.Pseudo))
	f.add(!slices.Equal(sorted, []string{":authority", ":method", ":path", ":scheme"}), "http2.pseudo: write the order of :method, :authority, :scheme and :path")
	for _, s := range h.Settings {
		f.add(s.ID == 2 && s.Value > 1 || s.ID == 4 && s.Value >= 1<<31 || s.ID == 5 && (s.Value < 1<<14 || s.Value >= 1<<24),
			"http2.settings: %s cannot be %d (RFC 9113, Section 6.5.2)", s.ID, s.Value)
	}
	checkFields(f, "http2.page", h.Page)
	checkFields(f, "http2.get", h.Get)
	checkFields(f, "http2.post", h.Post)
	if h.Stream != nil {
		checkFields(f, "http2.stream", h.Stream)
	}
	for _, l := range [][]Field{h.Page, h.Get, h.Post, h.Stream} {
		for _, field := range l {
			f.add(field.Name != strings.ToLower(field.Name), "http2: field %.64q: HTTP/2 has small letters only", field.Name)
		}
	}
}

func checkFields(f *faults, name string, list []Field) {
	f.add(len(list) == 0 || len(list) > maxFields, "%s: there are between 1 and %d fields", name, maxFields)
	for _, field := range list {
		f.add(!fieldForm.MatchString(field.Name), "%s: %.40q is not the name of a field", name, field.Name)
		f.add(len(field.Value) > maxValue, "%s: %.64q is longer than %d bytes", name, field.Name, maxValue)
		f.add(strings.ContainsFunc(field.Value, func(r rune) bool { return r < ' ' || r > '~' }),
			"%s: %.64q has characters other than ASCII's", name, field.Name)
		f.add(strings.Contains(field.Value, "Headless"), "%s: %.64q says headless, which no visitor is: take what a browser with a window sends", name, field.Name)
	}
}
