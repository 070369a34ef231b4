package resolve

import (
	"net/netip"
)

// Config is how a configuration names resolvers: "system", the URL of a DoH server
// with its addresses ("https://dns.example/dns-query#192.0.2.1,192.0.2.2"; none are
// needed where the host is one), a table { "name" = ["192.0.2.1"] }, or an array of
// these, which are asked in order. The zero value is "system".
type Config struct {
	Ways []Way
}

// Way is one resolver of a Config. One of its fields is set.
type Way struct {
	System bool
	Server *Server
	Static Static
}

// Server is a DoH server.
type Server struct {
	URL   string // without its addresses
	Host  string // its name or address: what its certificate is for
	Addrs []netip.AddrPort
}

// Options are what the resolvers of a Config are made of.
type Options struct {
	Servers  []netip.AddrPort        // asked for "system"; none: the machine's
	Exchange func(s Server) Exchange // with a DoH server
	Private  bool                    // see System and DoH
}

// UnmarshalTOML reads any of the forms.
func (c *Config) UnmarshalTOML(v any) error { return nil }

// MarshalTOML is the value to write.
func (c *Config) MarshalTOML() any { return nil }

// Resolvers makes the resolvers, in order, for a Cache.
func (c *Config) Resolvers(o Options) []Resolver { return nil }

// ParseServer reads the URL of a DoH server.
func ParseServer(s string) (Server, error) { return Server{}, ErrFailed }
