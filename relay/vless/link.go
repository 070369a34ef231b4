package vless

import (
	"errors"

	"relay/transport"
)

// Link is a vless:// link: a server, its disguise and the user.
type Link struct {
	UUID   [16]byte
	Host   string // the server's name, or its address without brackets
	Port   uint16
	Type   string // "xhttp" or "ws"
	TLS    bool
	SNI    string // "" if the link has none: see ServerName
	Header string // the Host of requests; "" if the link has none
	Path   string // begins with a slash; a secret
	Early  int    // of "ws": how much rides with the handshake ("ed")
	Mode   string // of "xhttp"
	Extra  Extra  // of "xhttp"
	ALPN   []string

	Fingerprint string     // of a browser ("fp")
	Pins        [][32]byte // of certificates ("pcs")
	VerifyNames []string   // in place of the server name ("vcn")
	ECH         string
	Packets     string // how datagrams go ("packetEncoding")
	Remark      string

	Unknown []string // names of parameters that mean nothing here
}

// Extra is what a link says about XHTTP beyond its parameters.
type Extra struct {
	Raw       string // as it was written
	XMux      XMux
	Padding   Range // "xPaddingBytes"
	PostBytes Range // "scMaxEachPostBytes"
	PostEvery Range // "scMinPostsIntervalMs", in milliseconds
	Headers   map[string]string
	NoGRPC    bool // "noGRPCHeader"
}

// XMux is how streams share connections.
type XMux struct {
	MaxConcurrency, MaxConnections, MaxReuse, MaxRequests, MaxSeconds Range
	KeepAlive                                                         int64 // in seconds; negative: none
}

// Range is two numbers between which one is drawn; zero: the link does not say.
type Range struct{ From, To int }

// ParseLink reads a link. What it means and we cannot do is an error that says so;
// errors have neither the UUID nor the path in them.
func ParseLink(text string) (*Link, error) { return nil, errors.New("not yet") }

// String is the link as it is printed: it has the user's secrets in it.
func (l *Link) String() string { return "" }

// Server is where to connect.
func (l *Link) Server() (transport.Target, error) { return transport.NameTarget(l.Host, l.Port) }

// ServerName is the name in the TLS hello.
func (l *Link) ServerName() string { return l.SNI }
