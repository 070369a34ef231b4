package web

import (
	"time"

	"relay/transport/resolve"
)

// Front is one [[upstream.front]]: a way to an upstream that looks like a visit to
// somebody else. Each field stands alone; what is absent is the link's.
type Front struct {
	// Connect is where to connect, in order: addresses and names, with or without a
	// port. Only names in here are looked up, and the link's host where it is empty.
	Connect []string `toml:"connect"`
	// Resolver is who is asked about these names.
	Resolver resolve.Config `toml:"resolver"`
	// Private takes private addresses as answers, for an upstream in a LAN.
	Private bool `toml:"private"`
	// SNI is the name in the client's hello; "" sends none.
	SNI *string `toml:"sni"`
	// CertificateName is what the certificate must be for. Empty: SNI, or else the link's.
	CertificateName string `toml:"certificate_name"`
	// Pins are SHA-256 hashes of certificates, in hex or base64. One of them must be in
	// the chain, and nobody else vouches for it.
	Pins []string `toml:"pins"`
	// Host is the name in requests.
	Host string `toml:"host"`
	// Path is the secret path of requests.
	Path Secret `toml:"path"`
	// Version is "h2" or "http/1.1".
	Version string `toml:"version"`
	// Mode is stream-one, stream-up, packet-up, auto or websocket.
	Mode string `toml:"mode"`
	// ECH is "grease", "off", "dns" or an ECHConfigList in base64.
	ECH string `toml:"ech"`
	// PostBytes and PostInterval pace the posts of packet-up.
	PostBytes    Bytes    `toml:"post_bytes"`
	PostInterval Interval `toml:"post_interval"`
}

// Bytes is a range to draw a size from: 1000000, or "500000-1000000".
type Bytes struct{ Least, Most int }

// Interval is a range to draw a pause from: "30ms", or "20ms-60ms".
type Interval struct{ Least, Most time.Duration }

// Link is what a link says about the way to an upstream. Mode and Version may be
// empty.
type Link struct {
	Host string // name or address
	Port uint16
	SNI  string // empty: Host, where it is a name
	// CertificateName is what the certificate must be for; empty: SNI, or Host.
	CertificateName string
	Authority       string // the name in requests; empty: SNI, or Host
	Path            string
	Mode            string // as in Front
	Version         string
	Pins            [][32]byte // of certificates
	ECH             string     // as in Front
	PostBytes       Bytes
	PostInterval    Interval
}

// Way is a Front with everything filled in: what a dialer needs.
type Way struct {
	Connect         []Place
	SNI             string // empty: none is sent
	CertificateName string // name or address; empty: only the pins count
	Pins            [][32]byte
	Authority       string // :authority, or Host
	Path            Secret
	Version         string // H2 or HTTP1
	Mode            string // ModeStreamOne …, never auto
	ECH             ECH
	PostBytes       Bytes
	PostInterval    Interval
}

// Place is where to connect: a name to look up, or an address.
type Place struct {
	Host string
	Port uint16
}

// ECH says what to do about Encrypted Client Hello.
type ECH struct {
	Mode ECHMode
	List []byte // of ECHList
}

// ECHMode is a word of the key ech.
type ECHMode int

// The modes.
const (
	ECHGrease ECHMode = iota // as browsers do without a record
	ECHOff
	ECHDNS  // from the HTTPS record of the name in SNI
	ECHList // given
)

// The versions of HTTP and the modes of a Way.
const (
	H2    = "h2"
	HTTP1 = "http/1.1"

	ModeStreamOne = "stream-one"
	ModeStreamUp  = "stream-up"
	ModePacketUp  = "packet-up"
	ModeWebSocket = "websocket"
	ModeAuto      = "auto"
)

// Check reports every fault; key is relative to the table.
func (f *Front) Check(fault func(key, problem, hint string)) {}

// Way fills in what the front does not say from a link. The error says what the
// two contradict each other in.
func (f *Front) Way(l Link) (Way, error) { return Way{}, nil }
