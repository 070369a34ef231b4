package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
	Host      string           // its name or address: what its certificate is for
	Addrs     []netip.AddrPort // where it is: its own name is never looked up
	Authority string           // in requests
	Path      string
	Get       bool // ask with GET: the URL ends in {?dns}
}

// Options are what the resolvers of a Config are made of.
type Options struct {
	Servers  []netip.AddrPort        // asked for "system"; none: the machine's
	Exchange func(s Server) Exchange // with a DoH server
	Private  bool                    // see System and DoH
}

const (
	systemWord = "system"
	getSuffix  = "{?dns}"
	// maxWays, maxServerAddrs and maxStatic bound a Config.
	maxWays        = 8
	maxServerAddrs = 16
	maxStatic      = 64
	maxURL         = 1 << 10
)

var errForm = errors.New(`want "system", "https://dns.example/dns-query#192.0.2.1", a table { "name" = ["192.0.2.1"] }, or an array of these`)

// UnmarshalTOML reads any of the forms.
func (c *Config) UnmarshalTOML(v any) error {
	all, ok := v.([]any)
	if !ok {
		all = []any{v}
	}
	if len(all) == 0 {
		return errForm
	}
	if len(all) > maxWays {
		return fmt.Errorf("%d resolvers, and the last would be asked after minutes; keep up to %d", len(all), maxWays)
	}
	ways := make([]Way, len(all))
	for i, one := range all {
		var err error
		if ways[i], err = readWay(one); err != nil {
			return err
		}
	}
	c.Ways = ways
	return nil
}

func readWay(v any) (Way, error) {
	switch v := v.(type) {
	case string:
		if v == systemWord {
			return Way{System: true}, nil
		}
		s, err := ParseServer(v)
		return Way{Server: &s}, err
	case map[string]any:
		s, err := readStatic(v)
		return Way{Static: s}, err
	}
	return Way{}, errForm
}

func readStatic(m map[string]any) (Static, error) {
	if len(m) == 0 || len(m) > maxStatic {
		return nil, fmt.Errorf("a table of %d names; want 1 to %d", len(m), maxStatic)
	}
	out := make(Static, len(m))
	for key, v := range m {
		name, err := clean(key)
		if err != nil {
			return nil, fmt.Errorf("%q is not a host name", short(key))
		}
		list, ok := v.([]any)
		if !ok || len(list) == 0 || len(list) > maxAddrs {
			return nil, fmt.Errorf("%s: want its addresses, 1 to %d, such as [\"192.0.2.1\"]", name, maxAddrs)
		}
		var a Answer
		for _, one := range list {
			s, _ := one.(string)
			addr, err := parseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			a.Addrs = append(a.Addrs, addr)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		out[name] = a
	}
	return out, nil
}

// parseAddr reads an address that can be connected to.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, fmt.Errorf("%q is not an address", short(s))
	}
	return a.Unmap(), nil
}

// ParseServer reads the URL of a DoH server.
func ParseServer(text string) (Server, error) {
	link, list, listed := strings.Cut(text, "#")
	link, get := strings.CutSuffix(link, getSuffix)
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		len(text) > maxURL || strings.ContainsAny(link, "{}") {
		return Server{}, fmt.Errorf("not the URL of a DoH server: %w", errForm) // its path may be somebody's own
	}
	s := Server{Host: strings.ToLower(u.Hostname()), Path: u.EscapedPath(), Get: get}
	s.Authority = strings.TrimSuffix(strings.ToLower(u.Host), ":443")
	if s.Path == "" {
		s.Path = "/"
	}
	port := uint64(httpsPort)
	if u.Port() != "" {
		if port, err = strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			return Server{}, fmt.Errorf("port %q is out of range", u.Port())
		}
	}
	own, err := parseAddr(s.Host)
	switch {
	case err != nil && !IsName(s.Host):
		return Server{}, fmt.Errorf("%q is no host of a resolver", short(s.Host))
	case err == nil && !listed:
		s.Addrs = []netip.AddrPort{netip.AddrPortFrom(own, uint16(port))}
		return s, nil
	case !listed:
		return Server{}, fmt.Errorf("%s is a name, which somebody would have to be asked about: write its addresses behind the URL, as in \"#192.0.2.1\"", s.Host)
	}
	for one := range strings.SplitSeq(list, ",") {
		a, err := parseAddr(strings.TrimSpace(one))
		if err != nil || len(s.Addrs) == maxServerAddrs {
			return Server{}, fmt.Errorf("behind # are the addresses of %s, 1 to %d: %q is none or too many", s.Host, maxServerAddrs, short(one))
		}
		s.Addrs = append(s.Addrs, netip.AddrPortFrom(a, uint16(port)))
	}
	return s, nil
}

// String is the text that ParseServer reads.
func (s Server) String() string {
	text := "https://" + s.Authority + s.Path
	if s.Get {
		text += getSuffix
	}
	if _, err := netip.ParseAddr(s.Host); err == nil && len(s.Addrs) == 1 && s.Addrs[0].Addr().String() == s.Host {
		return text
	}
	addrs := make([]string, len(s.Addrs))
	for i, a := range s.Addrs {
		addrs[i] = a.Addr().String()
	}
	return text + "#" + strings.Join(addrs, ",")
}

// MarshalTOML is the value to write.
func (c *Config) MarshalTOML() any {
	var out []any
	for _, w := range c.Ways {
		switch {
		case w.Server != nil:
			out = append(out, w.Server.String())
		case w.Static != nil:
			table := make(map[string][]string, len(w.Static))
			for name, a := range w.Static {
				for _, addr := range a.Addrs {
					table[name] = append(table[name], addr.String())
				}
			}
			out = append(out, table)
		default:
			out = append(out, systemWord)
		}
	}
	switch len(out) {
	case 0:
		return nil
	case 1:
		return out[0]
	}
	return out
}

// Resolvers makes the resolvers, in order, for a Cache.
func (c *Config) Resolvers(o Options) []Resolver {
	if len(c.Ways) == 0 {
		return []Resolver{&System{Servers: o.Servers, Private: o.Private}}
	}
	var out []Resolver
	for _, w := range c.Ways {
		switch {
		case w.Server != nil:
			out = append(out, &DoH{Exchange: o.Exchange(*w.Server), Private: o.Private})
		case w.Static != nil:
			out = append(out, w.Static)
		default:
			out = append(out, &System{Servers: slices.Clone(o.Servers), Private: o.Private})
		}
	}
	return out
}

// HTTPS reports whether one of the resolvers can be asked for HTTPS records, and so
// for ECH.
func (c *Config) HTTPS() bool {
	return slices.ContainsFunc(c.Ways, func(w Way) bool { return w.Server != nil })
}

// short shortens what is repeated in an error.
func short(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
