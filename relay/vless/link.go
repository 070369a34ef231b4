package vless

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"

	"relay/transport"
)

// Kinds of carriers in a link ("type").
const (
	TypeXHTTP = "xhttp"
	TypeWS    = "ws"
)

// Link is a vless:// link: a server, its disguise and the user. Ours and those for Xray
// are alike: its parameters are what v2rayN and v2rayNG write (XTLS/Xray-core,
// discussion 716).
type Link struct {
	UUID   [16]byte
	Host   string // the server's name, or its address without brackets
	Port   uint16
	Type   string // TypeXHTTP or TypeWS
	TLS    bool   // false: all of it is in the clear
	SNI    string // "" if the link has none: see ServerName
	Header string // the Host of requests; "" if the link has none: see Authority
	Path   string // of requests, begins with a slash and may have a query; a secret
	Early  int    // of TypeWS: how many bytes ride with the handshake ("ed")
	Mode   string // of TypeXHTTP; "auto" if the link does not say
	Extra  Extra  // of TypeXHTTP
	ALPN   []string

	Fingerprint string // of a browser ("fp")
	// Pins ("pcs") are SHA-256 hashes of whole certificates, in DER. One that is the
	// leaf's is enough, whatever its names and dates are; one of a CA in the
	// server's chain makes that CA the only root, and the name counts. Without one
	// of them there is no connection (Xray v26.3.27, transport/internet/tls/config.go,
	// verifyPeerCert; the same in August 2026). They are hex with or without colons,
	// with commas between, in January 2026 with tildes. The hashes of chains in
	// base64 that came before had no parameter.
	Pins [][32]byte
	// VerifyNames ("vcn") are names one of which the certificate has to be for, in
	// place of the server name.
	VerifyNames []string
	ECH         string // a list of configurations in base64, or whom to ask for it
	Packets     string // how datagrams go ("packetEncoding"): they go as XUDP
	Remark      string // for people

	// Unknown are the names of parameters that mean nothing here, for a debug line.
	Unknown []string
}

// Server is where to connect.
func (l *Link) Server() (transport.Target, error) { return transport.NameTarget(l.Host, l.Port) }

// ServerName is the name in the TLS hello: v2rayN takes the host of requests where the
// link has none, Xray the server's.
func (l *Link) ServerName() string { return firstOf(l.SNI, hostOf(l.Header), l.Host) }

// Authority is the Host of requests (Xray, transport/internet/splithttp/dialer.go).
func (l *Link) Authority() string { return firstOf(l.Header, l.SNI, l.Host) }

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// hostOf is a Host without its port.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.Trim(authority, "[]")
}

// LogValue implements slog.LogValuer.
func (*Link) LogValue() slog.Value { return slog.StringValue("[secret]") }

// String is the link as people copy it: it has the user's secrets in it.
func (l *Link) String() string {
	q := query{"encryption=none"}
	q.add("security", l.security())
	q.add("sni", l.SNI)
	q.add("fp", l.Fingerprint)
	q.add("type", l.Type)
	q.add("host", l.Header)
	q.add("path", l.path())
	q.add("mode", l.Mode)
	q.add("alpn", strings.Join(l.ALPN, ","))
	q.add("extra", l.Extra.Raw)
	q.add("pcs", l.pins())
	q.add("vcn", strings.Join(l.VerifyNames, ","))
	q.add("ech", l.ECH)
	q.add("packetEncoding", l.Packets)
	u := "vless://" + formatUUID(l.UUID) + "@" + net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) + "?" + strings.Join(q, "&")
	if l.Remark != "" {
		u += "#" + url.PathEscape(l.Remark)
	}
	return u
}

// query are parameters in the order in which they are printed.
type query []string

// add adds a parameter that has a value.
func (q *query) add(key, value string) {
	if value != "" {
		*q = append(*q, key+"="+url.QueryEscape(value))
	}
}

func (l *Link) security() string {
	if l.TLS {
		return "tls"
	}
	return "none"
}

// path is the path with what Xray wants in it.
func (l *Link) path() string {
	if l.Early == 0 {
		return l.Path
	}
	mark := "?"
	if strings.Contains(l.Path, "?") {
		mark = "&"
	}
	return l.Path + mark + "ed=" + strconv.Itoa(l.Early)
}

func (l *Link) pins() string {
	var all []string
	for _, p := range l.Pins {
		all = append(all, hex.EncodeToString(p[:]))
	}
	return strings.Join(all, ",")
}

func formatUUID(id [idSize]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
