package web

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"relay/transport/resolve"
)

// Link is what a link says about the way to an upstream. All but Host, Port and Path
// may be empty.
type Link struct {
	Host            string // name or address
	Port            uint16
	SNI             string
	CertificateName string
	Authority       string // the name in requests
	Path            string
	Mode            string
	Version         string
	Early           int        // bytes that the server takes with a WebSocket's request
	Whole           bool       // it takes the end of one direction of a WebSocket for that of both
	Pins            [][32]byte // of certificates
	ECH             string     // as in Front
	PostBytes       Bytes
	PostInterval    Interval
}

// Way is a Front with everything filled in: what a dialer needs.
type Way struct {
	Connect         []Place // in order
	SNI             string  // empty: none is sent
	CertificateName string  // name or address; empty: only the pins count
	Pins            [][32]byte
	Authority       string // :authority, or Host
	Path            Secret
	Version         string // H2 or HTTP1
	Mode            string // not ModeAuto
	Early           int    // of WebSocket: bytes that may ride in the request
	Whole           bool   // of WebSocket: an end of ours would be the end of both directions
	ECH             ECH
	PostBytes       Bytes
	PostInterval    Interval
}

// Way fills in from a link what the front does not say. The error says in what the
// two contradict each other.
func (f *Front) Way(l Link) (Way, error) {
	w := Way{
		Authority:    cmp.Or(written(f.Host), l.Authority, l.SNI, authority(l.Host, l.Port)),
		Path:         Secret(cmp.Or(string(f.Path), l.Path)),
		Mode:         cmp.Or(f.Mode, l.Mode, ModeAuto),
		Early:        early(l.Early),
		Whole:        l.Whole,
		PostBytes:    f.PostBytes,
		PostInterval: f.PostInterval,
	}
	if w.Path == "" || badPath(string(w.Path)) != "" {
		return Way{}, errors.New("web: the way has no path: write path, or take a link that has one")
	}
	switch {
	case w.Mode == ModeAuto, f.Version == HTTP1 && f.Mode == "" && streamed(l.Mode):
		w.Mode = ModePacketUp
	case !slices.Contains(modes, w.Mode):
		return Way{}, fmt.Errorf("web: unknown mode %q in the link: write mode; modes are %s", w.Mode, strings.Join(modes, ", "))
	}
	if w.Mode != ModeWebSocket && !strings.HasSuffix(string(w.Path), "/") {
		// Servers of XHTTP have a slash there, whatever the link says (Xray,
		// transport/internet/splithttp/config.go); those of WebSockets compare.
		w.Path += "/"
	}
	w.pace(l)
	for _, fill := range []func(*Way, Link) error{f.version, f.certificate, f.hide, f.connect} {
		if err := fill(&w, l); err != nil {
			return Way{}, err
		}
	}
	return w, nil
}

// pace fills in how posts follow each other. A link is not to make a flood of them.
func (w *Way) pace(l Link) {
	if !w.PostBytes.valid() {
		w.PostBytes = DefaultPostBytes
		if l.PostBytes.valid() {
			w.PostBytes = l.PostBytes
		}
	}
	if !w.PostInterval.valid() {
		w.PostInterval = DefaultPostInterval
		if l.PostInterval.valid() {
			w.PostInterval = l.PostInterval
		}
	}
}

// hide chooses what to do about ECH, once the name is known.
func (f *Front) hide(w *Way, l Link) (err error) {
	if w.ECH, err = parseECH(cmp.Or(f.ECH, l.ECH)); err != nil {
		return fmt.Errorf("web: ech: %w", err)
	}
	switch {
	case w.SNI == "" && w.ECH.Mode != ECHOff:
		w.ECH = ECH{} // the link's was for a name that is not sent
	case w.ECH.Mode == ECHDNS && !f.Resolver.HTTPS():
		return errors.New(`web: ech: none of the resolvers can be asked for it: write resolver = "https://dns.example/dns-query#192.0.2.1"`)
	}
	return nil
}

// connect lists the places to connect to.
func (f *Front) connect(w *Way, l Link) error {
	places := f.Connect
	if len(places) == 0 {
		places = Places{l.Host}
	}
	for _, s := range places {
		p, err := parsePlace(s, l.Port)
		if err != nil || p.Port == 0 {
			return errors.New("web: the way leads nowhere: write connect, or take a link with a host and a port")
		}
		w.Connect = append(w.Connect, p)
	}
	return nil
}

// version chooses the version of HTTP. What the link says is for the link's mode.
func (f *Front) version(w *Way, l Link) error {
	w.Version = cmp.Or(f.Version, l.Version)
	if w.Version != "" && w.Version != H2 && w.Version != HTTP1 {
		return errors.New(`web: unknown version of HTTP in the link: write version = "h2"`)
	}
	if f.Version == "" && f.Mode != "" && f.Mode != l.Mode {
		w.Version = ""
	}
	if w.Version == "" {
		w.Version = H2
		if w.Mode == ModeWebSocket {
			w.Version = HTTP1
		}
	}
	if problem, hint := contradiction(w.Version, w.Mode); problem != "" {
		return fmt.Errorf("web: the front and the link together: %s: %s", problem, hint)
	}
	return nil
}

// certificate chooses the name to send, and whose certificate to take.
func (f *Front) certificate(w *Way, l Link) error {
	named := cmp.Or(l.CertificateName, l.SNI, l.Host)
	if w.SNI = cmp.Or(l.SNI, l.Host); !resolve.IsName(w.SNI) {
		w.SNI = "" // a hello has names only (RFC 6066, Section 3)
	}
	if f.SNI != nil {
		w.SNI = *f.SNI
		named = *f.SNI
	}
	for _, p := range f.Pins {
		w.Pins = append(w.Pins, p)
	}
	switch {
	case len(w.Pins) > 0:
	case f.CertificateName != "":
		w.CertificateName = f.CertificateName
	case len(l.Pins) > 0:
		w.Pins = l.Pins
	case named == "":
		return errors.New("web: nothing says whose certificate to take: write certificate_name, or pins")
	default:
		w.CertificateName = named
	}
	return nil
}

// written is a value that may be absent.
func written(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// authority is a host as requests have it: a browser leaves out the port of https.
func authority(host string, port uint16) string {
	if a, err := netip.ParseAddr(host); port == 443 {
		if err == nil && a.Is6() {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// early is how much payload rides in the request for a WebSocket whose link says n.
func early(n int) int {
	if n >= DefaultEarly {
		return earlySocket
	}
	return n
}
