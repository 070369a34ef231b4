package web

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"relay/transport/resolve"
)

// Front is one [[upstream.front]]: a way to an upstream that looks like a visit to
// somebody else. Each field stands alone; what is absent is the link's. A Front that
// says nothing is the way of the link itself.
type Front struct {
	// Connect is where to connect, in order: addresses and names, with or without a
	// port. No other names are looked up; where it is absent, the link's host is.
	Connect Places `toml:"connect"`
	// Resolver is who is asked about these names.
	Resolver resolve.Config `toml:"resolver"`
	// Private takes private addresses as answers, for an upstream in a LAN.
	Private bool `toml:"private"`
	// SNI is the name in the client's hello; "" sends none.
	SNI *string `toml:"sni"`
	// CertificateName is the name or address that the certificate must be for. The
	// link's pins are not used with it, as it is another's certificate. Empty: SNI, or
	// else what the link says.
	CertificateName string `toml:"certificate_name"`
	// Pins are of certificates: one of them must be in the chain, and nobody else
	// vouches for it.
	Pins []Pin `toml:"pins"`
	// Host is the name in requests.
	Host *string `toml:"host"`
	// Path is the secret path of requests.
	Path Secret `toml:"path"`
	// Version is H2 or HTTP1.
	Version string `toml:"version"`
	// Mode is one of the modes below.
	Mode string `toml:"mode"`
	// ECH is "grease", "off", "dns" or an ECHConfigList in base64.
	ECH string `toml:"ech"`
	// PostBytes and PostInterval pace the posts of packet-up.
	PostBytes    Bytes    `toml:"post_bytes"`
	PostInterval Interval `toml:"post_interval"`
}

// Places are those of a file, which leaves the key out where there are none.
type Places []string

// MarshalTOML is what relay config prints.
func (p Places) MarshalTOML() any {
	if len(p) == 0 {
		return nil
	}
	return []string(p)
}

// The versions of HTTP, and the modes: those of XHTTP, and WebSocket. ModeAuto is
// the one that passes through every CDN, packet-up.
const (
	H2    = "h2"
	HTTP1 = "http/1.1"

	ModeAuto      = "auto"
	ModeStreamOne = "stream-one"
	ModeStreamUp  = "stream-up"
	ModePacketUp  = "packet-up"
	ModeWebSocket = "websocket"
)

const (
	mostConnect = 32
	mostPins    = 16
	mostPath    = 512
)

var modes = []string{ModeAuto, ModeStreamOne, ModeStreamUp, ModePacketUp, ModeWebSocket}

// Check reports every fault; key is relative to the table.
func (f *Front) Check(fault func(key, problem, hint string)) {
	f.checkConnect(fault)
	f.checkNames(fault)
	if p := string(f.Path); p != "" {
		// What it is stays out of the fault.
		if problem := badPath(p); problem != "" {
			fault("path", problem, `write it as in the link, such as "/…/"`)
		}
	}
	if len(f.Pins) > mostPins {
		fault("pins", fmt.Sprintf("%d of them", len(f.Pins)), fmt.Sprintf("keep up to %d: one of the certificate in use and one of the next", mostPins))
	}
	if f.Version != "" && f.Version != H2 && f.Version != HTTP1 {
		fault("version", fmt.Sprintf("unknown version %q", f.Version), `write "h2" or "http/1.1"`)
	}
	if f.Mode != "" && !slices.Contains(modes, f.Mode) {
		fault("mode", fmt.Sprintf("unknown mode %q", f.Mode), "modes are "+strings.Join(modes, ", "))
	}
	if problem, hint := contradiction(f.Version, f.Mode); problem != "" {
		fault("version", problem, hint)
	}
	f.checkECH(fault)
	f.checkPace(fault)
}

func (f *Front) checkConnect(fault func(key, problem, hint string)) {
	if f.Connect != nil && len(f.Connect) == 0 {
		fault("connect", "names no place to connect to", "write addresses or names of the CDN; for the link's host leave connect out")
	}
	if len(f.Connect) > mostConnect {
		fault("connect", fmt.Sprintf("%d of them", len(f.Connect)), fmt.Sprintf("keep up to %d, or write a [[upstream.front]] for each group", mostConnect))
	}
	seen := make(map[Place]int)
	for i, s := range f.Connect {
		key := fmt.Sprintf("connect[%d]", i)
		p, err := parsePlace(s, 0)
		if err != nil {
			fault(key, err.Error(), `write "203.0.113.5", "front.example:443" or "[2001:db8::1]:443"`)
			continue
		}
		if first, ok := seen[p]; ok {
			fault(key, fmt.Sprintf("%q is connect[%d] already", s, first), "write each once")
			continue
		}
		seen[p] = i
	}
}

func (f *Front) checkNames(fault func(key, problem, hint string)) {
	if f.SNI != nil && *f.SNI != "" && !resolve.IsName(*f.SNI) {
		fault("sni", fmt.Sprintf("%q is not a host name", *f.SNI), `a hello has names only (RFC 6066, Section 3); for none write sni = ""`)
	}
	if f.SNI != nil && *f.SNI == "" && f.CertificateName == "" && len(f.Pins) == 0 {
		fault("sni", "without a name, nothing says whose certificate to take", "write certificate_name, or pins")
	}
	if n := f.CertificateName; n != "" && !isHost(n) {
		fault("certificate_name", fmt.Sprintf("%q is neither a host name nor an address", n), `write it such as "www.example.org"`)
	}
	if f.CertificateName != "" && len(f.Pins) > 0 {
		fault("certificate_name", "pins are there too, and then no name counts", "keep one of them")
	}
	if f.Host != nil {
		if _, err := parsePlace(*f.Host, 0); err != nil || !httpguts.ValidHostHeader(*f.Host) {
			fault("host", fmt.Sprintf("%q is not a host", *f.Host), `write the name that the CDN knows the upstream by, such as "www.example.org"; for the link's leave host out`)
		}
	}
}

func (f *Front) checkECH(fault func(key, problem, hint string)) {
	e, err := parseECH(f.ECH)
	switch {
	case err != nil:
		fault("ech", err.Error(), `write "grease", "off", "dns", or what "ech=" has in the HTTPS record of the name`)
	case e.Mode != ECHDNS && e.Mode != ECHList:
	case f.SNI != nil && *f.SNI == "":
		fault("ech", "there is no name to hide", `write a name in sni, or ech = "grease"`)
	case e.Mode == ECHDNS && !f.Resolver.HTTPS():
		fault("ech", "none of the resolvers can be asked for ECH", `write resolver = "https://dns.example/dns-query#192.0.2.1"`)
	}
}

func (f *Front) checkPace(fault func(key, problem, hint string)) {
	paced := f.PostBytes != Bytes{} || f.PostInterval != Interval{}
	if paced && f.Mode != "" && f.Mode != ModeAuto && f.Mode != ModePacketUp {
		key := "post_bytes"
		if f.PostBytes == (Bytes{}) {
			key = "post_interval"
		}
		fault(key, fmt.Sprintf("mode %q has no posts to pace", f.Mode), `remove it, or write mode = "packet-up"`)
	}
}

// contradiction says why a version and a mode, if both are known, do not go together.
func contradiction(version, mode string) (problem, hint string) {
	switch {
	case version == HTTP1 && streamed(mode):
		return fmt.Sprintf("mode %q goes over HTTP/2 only: over HTTP/1.1 no browser's request goes on beside its answer, and proxies collect it", mode), `write mode = "packet-up" or "websocket", or version = "h2"`
	case version == H2 && mode == ModeWebSocket:
		return "WebSocket goes over HTTP/1.1 only", `write version = "http/1.1", or leave version out`
	}
	return "", ""
}

// streamed reports whether the uplink of a mode is one request.
func streamed(mode string) bool { return mode == ModeStreamOne || mode == ModeStreamUp }

// badPath says what is wrong with a path.
func badPath(p string) string {
	switch {
	case p[0] != '/':
		return "does not begin with a slash"
	case len(p) > mostPath || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("?#\"<>\\^`{|}", r) }):
		return "is not the path of a URL, without what stands behind ? or #"
	}
	return ""
}

// isHost reports whether s is a host name or an address without a port.
func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || resolve.IsName(s)
}

// Place is where to connect: a name to look up, or an address.
type Place struct {
	Host string // in lower case, without brackets and final dot
	Port uint16
}

// Addr is the address, if the place is one.
func (p Place) Addr() (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(p.Host)
	return netip.AddrPortFrom(a, p.Port), err == nil
}

// parsePlace reads a host that may have a port behind it; otherwise it gets the given
// one.
func parsePlace(s string, port uint16) (Place, error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if a, err := netip.ParseAddr(bare); err == nil && (bare == s || a.Is6()) {
		return placeOf(s, netip.AddrPortFrom(a, port))
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() > 0 {
		return placeOf(s, ap)
	}
	host, digits, ported := strings.Cut(s, ":")
	if ported {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 {
			return Place{}, fmt.Errorf("%q has no port from 1 to 65535 behind its colon", s)
		}
		port = uint16(n)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !resolve.IsName(host) {
		return Place{}, fmt.Errorf("%q is neither a host name nor an address", s)
	}
	return Place{host, port}, nil
}

func placeOf(s string, ap netip.AddrPort) (Place, error) {
	a := ap.Addr()
	if a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return Place{}, fmt.Errorf("%q is not an address to connect to", s)
	}
	return Place{a.Unmap().String(), ap.Port()}, nil
}

// ECH says what to do about Encrypted Client Hello.
type ECH struct {
	Mode ECHMode
	List []byte // of ECHList
}

// ECHMode is a word of the key ech.
type ECHMode int

// The modes. Without a list, ECHDNS and ECHList do not connect: the name would be
// there to read.
const (
	ECHGrease ECHMode = iota // what a browser sends where it knows of no list
	ECHOff                   // no trace of it, as older browsers
	ECHDNS                   // the list in the HTTPS record of the name in SNI
	ECHList                  // a list from the configuration
)

// parseECH reads the key ech. "" is ECHGrease.
func parseECH(s string) (ECH, error) {
	switch s {
	case "", "grease":
		return ECH{}, nil
	case "off":
		return ECH{Mode: ECHOff}, nil
	case "dns":
		return ECH{Mode: ECHDNS}, nil
	}
	list, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ECH{}, errors.New("neither a word nor base64")
	}
	if err := resolve.CheckECH(list); err != nil {
		return ECH{}, err
	}
	return ECH{Mode: ECHList, List: list}, nil
}
