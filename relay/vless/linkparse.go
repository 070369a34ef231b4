package vless

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"relay/transport"
)

const (
	// maxLink is the longest link that is read. Ours have some 500 bytes.
	maxLink = 8 << 10
	// maxEarly is the most payload that may ride with a handshake: beyond it
	// heads get too long for servers.
	maxEarly = 8 << 10
	// maxRemark is how much of a remark is kept.
	maxRemark = 256
)

var (
	errLinkForm = errors.New("vless link: want vless://UUID@HOST:PORT?…: copy all of it")
	errLinkLong = fmt.Errorf("vless link: longer than %d bytes: copy the link alone", maxLink)
	errLinkUUID = errors.New("vless link: the user's id is no UUID: copy all of the link")
	errLinkHost = errors.New("vless link: the server is no host name and port: ask for the link again")
	errLinkTLS  = errors.New("vless link: the server's certificate is not to be checked (allowInsecure): ask for a link with its pin (pcs)")
)

// refuse says what in a link we do not do.
func refuse(what, instead string) error {
	return fmt.Errorf("vless link: %s is not done here: %s", what, instead)
}

// bad says which parameter is not valid, without its value.
func bad(key, want string) error {
	return fmt.Errorf("vless link: %s: want %s: ask for the link again", key, want)
}

const askForWeb = "ask the server's owner for a link with security=tls and type=xhttp or type=ws"

// ParseLink reads a link, of at most 8 KiB. What it asks for and we do not do is an
// error that says so. Errors have neither the UUID nor the path in them.
func ParseLink(text string) (*Link, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxLink {
		return nil, errLinkLong
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, errLinkForm
	}
	if !strings.EqualFold(scheme, "vless") {
		return nil, other(scheme, rest)
	}
	rest, remark, _ := strings.Cut(rest, "#")
	server, query, _ := strings.Cut(rest, "?")
	l := &Link{Remark: readRemark(remark)}
	if err := l.readServer(strings.TrimSuffix(server, "/")); err != nil {
		return nil, err
	}
	p, err := readParameters(query)
	if err != nil {
		return nil, err
	}
	for _, read := range []func(*Link, *parameters) error{
		(*Link).readRefused, (*Link).readCarrier, (*Link).readSecurity, (*Link).readExtra,
	} {
		if err := read(l, p); err != nil {
			return nil, err
		}
	}
	l.Packets = p.take("packetEncoding")
	l.Unknown = append(l.Unknown, p.left()...)
	return l, nil
}

func readRemark(escaped string) string {
	s, err := url.PathUnescape(escaped)
	if err != nil {
		s = escaped
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) { // it is shown in terminals
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.ToValidUTF8(s[:min(len(s), maxRemark)], "")
}

// readServer reads UUID@HOST:PORT.
func (l *Link) readServer(s string) error {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return errLinkForm
	}
	id, err := url.PathUnescape(s[:at])
	if err != nil {
		return errLinkUUID
	}
	if l.UUID, err = parseUUID(id); err != nil {
		return err
	}
	// A Target keeps no brackets, and knows which names are addresses in disguise.
	t, err := transport.ParseTarget(s[at+1:])
	if err != nil {
		return errLinkHost
	}
	l.Host, l.Port = t.Host(), t.Port()
	return nil
}

// parseUUID reads a UUID with hyphens or without. Other text of up to 30 bytes is the
// name of one: Xray takes the SHA-1 of it behind 16 zeros, as version 5 (Xray,
// common/uuid/uuid.go; RFC 9562, Section 5.5).
func parseUUID(s string) (id [idSize]byte, err error) {
	if len(s) == 0 || len(s) > 36 || len(s) == 31 {
		return id, errLinkUUID
	}
	if len(s) < 31 {
		sum := sha1.Sum(append(id[:], s...))
		copy(id[:], sum[:])
		id[6], id[8] = id[6]&0x0f|0x50, id[8]&0x3f|0x80
		return id, nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != idSize {
		return id, errLinkUUID
	}
	return [idSize]byte(b), nil
}

// parameters are those of a link that nobody has asked for yet.
type parameters struct {
	keys   []string
	values map[string]string
}

func readParameters(query string) (*parameters, error) {
	p := &parameters{values: make(map[string]string)}
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		if err != nil || key == "" {
			if pair == "" {
				continue
			}
			return nil, errLinkForm
		}
		if _, twice := p.values[key]; twice {
			return nil, bad(printable(key), "it once")
		}
		if p.values[key], err = url.QueryUnescape(v); err != nil {
			return nil, bad(printable(key), "its value escaped as in URLs")
		}
		p.keys = append(p.keys, key)
	}
	return p, nil
}

// printable is a parameter's name as errors and logs may have it.
func printable(key string) string {
	if len(key) > 32 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "a parameter"
	}
	return key
}

// take is the value of a parameter, "" if there is none.
func (p *parameters) take(key string) string {
	v := p.values[key]
	delete(p.values, key)
	return v
}

// list is a value with commas, without empty parts.
func (p *parameters) list(key string) (all []string) {
	for s := range strings.SplitSeq(p.take(key), ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// left are the names of those that nobody has asked for.
func (p *parameters) left() (all []string) {
	for _, k := range p.keys {
		if _, ok := p.values[k]; ok {
			all = append(all, printable(k))
		}
	}
	return all
}

// readRefused looks at what would have to be done and is not.
func (l *Link) readRefused(p *parameters) error {
	if e := p.take("encryption"); e != "" && e != "none" {
		return refuse("encryption inside VLESS", "ask for a link with encryption=none")
	}
	if p.take("flow") != "" {
		return refuse("a flow (Vision)", "ask for a link without one, and with type=xhttp or type=ws")
	}
	if p.take("fm") != "" {
		return refuse("a mask of packets (fm)", askForWeb)
	}
	return nil
}

// readCarrier reads type, host, path and mode.
func (l *Link) readCarrier(p *parameters) error {
	switch l.Type = p.take("type"); l.Type {
	case TypeXHTTP, TypeWS:
	case "splithttp": // its old name
		l.Type = TypeXHTTP
	case "", "tcp", "raw":
		return refuse("VLESS straight on TCP", askForWeb)
	case "grpc", "kcp", "quic", "http", "h2", "httpupgrade", "hysteria":
		return refuse("type="+l.Type, askForWeb)
	default:
		return refuse("a carrier of this type", askForWeb)
	}
	if l.Header = p.take("host"); !validAuthority(l.Header) {
		return bad("host", "one host name")
	}
	if err := l.readPath(p.take("path")); err != nil {
		return err
	}
	if l.Type != TypeXHTTP {
		return nil
	}
	switch l.Mode = p.take("mode"); l.Mode {
	case "":
		l.Mode = "auto"
	case "auto", "packet-up", "stream-up", "stream-one":
	default:
		return bad("mode", "auto, packet-up, stream-up or stream-one")
	}
	return nil
}

// validAuthority accepts what may stand in a Host: no list, nothing that ends a header.
func validAuthority(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:[]", r))
	})
}

// readPath takes the early data of WebSockets out of the path, as Xray does
// (infra/conf/transport_internet.go), and escapes what no request may have in it.
func (l *Link) readPath(s string) error {
	var b strings.Builder
	if !strings.HasPrefix(s, "/") {
		b.WriteByte('/')
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return bad("path", "no control characters")
		case c > 0x7f || strings.IndexByte(` "#<>\^`+"`{|}", c) >= 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	l.Path = b.String()
	if l.Type != TypeWS {
		return nil
	}
	path, query, _ := strings.Cut(l.Path, "?")
	var rest []string
	for pair := range strings.SplitSeq(query, "&") {
		early, ok := strings.CutPrefix(pair, "ed=")
		if !ok {
			rest = append(rest, pair)
			continue
		}
		n, err := strconv.ParseUint(early, 10, 16)
		if err != nil || n > maxEarly {
			return bad("ed in the path", "a number of bytes up to "+strconv.Itoa(maxEarly))
		}
		l.Early = int(n)
	}
	if l.Path = path; strings.Join(rest, "") != "" {
		l.Path += "?" + strings.Join(rest, "&")
	}
	return nil
}

// readSecurity reads what TLS needs to know.
func (l *Link) readSecurity(p *parameters) error {
	switch p.take("security") {
	case "tls":
		l.TLS = true
	case "", "none":
	case "reality":
		return refuse("REALITY", askForWeb)
	default:
		return refuse("security of this kind", askForWeb)
	}
	if l.SNI = p.take("sni"); !validAuthority(l.SNI) {
		return bad("sni", "one host name")
	}
	l.Fingerprint = p.take("fp")
	if l.ALPN = p.list("alpn"); len(l.ALPN) == 1 && l.ALPN[0] == "h3" {
		return refuse("HTTP/3", "ask for a link with alpn=h2")
	}
	if slices.ContainsFunc(l.ALPN, func(s string) bool { return len(s) > 255 }) {
		return bad("alpn", "names of protocols")
	}
	l.VerifyNames = p.list("vcn")
	// base64 has a plus, which is a space to who did not escape it.
	l.ECH = strings.ReplaceAll(p.take("ech"), " ", "+")
	if err := l.readPins(p.take("pcs")); err != nil {
		return err
	}
	for _, key := range []string{"allowInsecure", "insecure", "allow_insecure"} {
		// Some links say so beside a pin, for old clients.
		if v := p.take(key); (v == "1" || strings.EqualFold(v, "true")) && l.TLS && len(l.Pins) == 0 {
			return errLinkTLS
		}
	}
	return nil
}

func (l *Link) readPins(s string) error {
	for _, pin := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '~' || r == ' ' }) {
		b, err := hex.DecodeString(strings.ReplaceAll(pin, ":", ""))
		if err != nil || len(b) != len([32]byte{}) {
			return bad("pcs", "SHA-256 hashes of certificates in hex, with commas between")
		}
		l.Pins = append(l.Pins, [32]byte(b))
	}
	return nil
}
