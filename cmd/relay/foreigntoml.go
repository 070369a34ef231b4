package main

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"relay/relay/mtproto"
)

// tomlTable reads TOML of any kind.
func tomlTable(b []byte) (map[string]any, error) {
	var raw map[string]any
	return raw, readTOML(b, &raw)
}

// readTOML adds the line to a fault. The text around it is left out: it may hold
// a secret.
func readTOML(b []byte, into any) error {
	err := toml.Unmarshal(b, into)
	if de, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := de.Position()
		text := printable(strings.TrimPrefix(de.Error(), "toml: "))
		if key := de.Key(); len(key) > 0 && strings.HasPrefix(text, "cannot ") {
			// Go's types mean nothing here, and a long key may be a secret.
			for len(key[len(key)-1]) >= 2*mtproto.SecretSize && len(key) > 1 {
				key = key[:len(key)-1]
			}
			text = printable(strings.Join(key[:min(2, len(key))], ".")) + " is, or holds, a value of another kind than it should"
		}
		return fmt.Errorf("line %d, column %d: %s", line, column, text)
	}
	return err
}

// mtgConfig is what counts of mtg v2's file (its example.config.toml).
type mtgConfig struct {
	Secret     string `toml:"secret"`
	BindTo     string `toml:"bind-to"`
	PublicIPv4 string `toml:"public-ipv4"`
	PublicIPv6 string `toml:"public-ipv6"`
	Network    struct {
		Proxies  []string `toml:"proxies"`
		PublicIP struct {
			IPv4 string `toml:"ipv4"`
			IPv6 string `toml:"ipv6"`
		} `toml:"public-ip"`
	} `toml:"network"`
}

func parseMTG(b []byte) (*foreign, error) {
	var c mtgConfig
	if err := readTOML(b, &c); err != nil {
		return nil, err
	}
	f := &foreign{Program: programMTG}
	if err := f.addSecret("mtg", c.Secret); err != nil {
		return nil, err
	}
	f.addListener(c.BindTo)
	for _, ip := range []string{c.PublicIPv4, c.PublicIPv6, c.Network.PublicIP.IPv4, c.Network.PublicIP.IPv6} {
		f.addPublic(ip)
	}
	if slices.ContainsFunc(c.Network.Proxies, func(p string) bool { return p != "" }) {
		f.loseSOCKS5()
	}
	return f, nil
}

// telemtConfig is what counts of telemt's file (its config.full.toml). Words
// that may be a string or something else are of type any.
type telemtConfig struct {
	General struct {
		UseMiddleProxy bool   `toml:"use_middle_proxy"`
		AdTag          string `toml:"ad_tag"`
		Modes          struct {
			Classic bool `toml:"classic"`
			Secure  bool `toml:"secure"`
			TLS     bool `toml:"tls"`
		} `toml:"modes"`
		Links struct {
			PublicHost string `toml:"public_host"`
			PublicPort int    `toml:"public_port"`
		} `toml:"links"`
	} `toml:"general"`
	Network struct {
		IPv6 bool `toml:"ipv6"`
	} `toml:"network"`
	Server struct {
		Port      int              `toml:"port"`
		IPv6      string           `toml:"listen_addr_ipv6"`
		Listeners []telemtListener `toml:"listeners"`
	} `toml:"server"`
	Censorship struct {
		TLSDomain  string   `toml:"tls_domain"`
		TLSDomains []string `toml:"tls_domains"`
	} `toml:"censorship"`
	Access struct {
		Users       map[string]string `toml:"users"`
		Enabled     map[string]bool   `toml:"user_enabled"`
		AdTags      map[string]string `toml:"user_ad_tags"`
		MaxConns    map[string]int    `toml:"user_max_tcp_conns"`
		MaxIPs      map[string]int    `toml:"user_max_unique_ips"`
		Expirations map[string]any    `toml:"user_expirations"`
		Quotas      map[string]int64  `toml:"user_data_quota"`
	} `toml:"access"`
	Upstreams []struct {
		Type    string `toml:"type"`
		Enabled *bool  `toml:"enabled"`
	} `toml:"upstreams"`
}

type telemtListener struct {
	IP         string `toml:"ip"`
	Port       int    `toml:"port"` // 0: that of [server]
	Transport  string `toml:"transport"`
	Announce   string `toml:"announce"`
	AnnounceIP string `toml:"announce_ip"`
}

func parseTelemt(b []byte) (*foreign, error) {
	var c telemtConfig
	// telemt's defaults (its config/types.rs); classic and secure are off.
	c.General.Modes.TLS, c.Server.Port, c.Server.IPv6, c.Censorship.TLSDomain = true, 443, "::", "petrovich.ru"
	if err := readTOML(b, &c); err != nil {
		return nil, err
	}
	f := &foreign{Program: programTelemt}
	m := c.General.Modes
	kinds := kindsOf(m.Classic, m.Secure, m.TLS)
	if err := f.people(slices.Sorted(maps.Keys(c.Access.Users)), c.Access.Users, kinds, c.Censorship.TLSDomain); err != nil {
		return nil, err
	}
	for i, name := range slices.Sorted(maps.Keys(c.Access.Users)) {
		u := &f.Users[i]
		on, said := c.Access.Enabled[name]
		u.Disabled = said && !on
		u.MaxConns, u.MaxIPs = max(0, c.Access.MaxConns[name]), max(0, c.Access.MaxIPs[name])
		if when, ok := c.Access.Expirations[name]; ok {
			t, err := tomlTime(when)
			if err != nil {
				return nil, fmt.Errorf("user_expirations of %s: %w", u.Name, err)
			}
			u.Expires = t
		}
	}
	f.telemtAddress(&c)
	f.telemtLost(&c)
	raw, err := tomlTable(b)
	if err != nil {
		return nil, err
	}
	access, _ := raw["access"].(map[string]any)
	f.telemtAccessLost(access)
	return f, nil
}

// people adds users with 16-byte secrets, as programs with one server name for
// all have them.
func (f *foreign) people(names []string, secrets map[string]string, kinds []mtproto.Kind, server string) error {
	for _, name := range names {
		if b, err := hex.DecodeString(name); err == nil && len(b) >= mtproto.SecretSize {
			return errors.New("a user has a secret for a name: write the name before the secret, in a copy of the file")
		}
		kind, key, _, err := mtproto.ParseSecret(secrets[name])
		if err != nil || kind != mtproto.KindSimple {
			return fmt.Errorf("the secret of %s is not one of 32 hexadecimal digits", userName(name))
		}
		u := foreignUser{There: name, Name: userName(name), Key: key, Kinds: kinds}
		if slices.Contains(kinds, mtproto.KindFakeTLS) {
			u.Server = server
		}
		f.Users = append(f.Users, u)
	}
	return nil
}

// kindsOf are the kinds of the three switches that telemt has from mtprotoproxy.
func kindsOf(classic, secure, tls bool) (out []mtproto.Kind) {
	for _, k := range []struct {
		on   bool
		kind mtproto.Kind
	}{{tls, mtproto.KindFakeTLS}, {secure, mtproto.KindPadded}, {classic, mtproto.KindSimple}} {
		if k.on {
			out = append(out, k.kind)
		}
	}
	if len(out) == 0 {
		return []mtproto.Kind{mtproto.KindFakeTLS} // what both do then
	}
	return out
}

// telemtAddress reads where clients go, as telemt makes links of it (its
// maestro/listeners.rs).
func (f *foreign) telemtAddress(c *telemtConfig) {
	listeners := slices.DeleteFunc(slices.Clone(c.Server.Listeners), func(l telemtListener) bool { return l.Transport == "web" })
	if len(c.Server.Listeners) == 0 {
		listeners = append(listeners, telemtListener{})
		if c.Network.IPv6 {
			listeners = append(listeners, telemtListener{IP: c.Server.IPv6})
		}
	}
	f.addPublic(c.General.Links.PublicHost)
	for _, l := range listeners {
		port := cmp.Or(c.General.Links.PublicPort, l.Port, c.Server.Port)
		f.addListener(net.JoinHostPort(l.IP, fmt.Sprint(port)))
		f.addPublic(l.Announce)
		f.addPublic(l.AnnounceIP)
		if own, err := netip.ParseAddr(l.IP); err == nil && c.General.Links.PublicHost+l.Announce+l.AnnounceIP == "" && !own.IsPrivate() && !own.IsLoopback() {
			f.addPublic(l.IP)
		}
	}
}

func (f *foreign) telemtLost(c *telemtConfig) {
	if c.General.AdTag != "" || len(c.Access.AdTags) > 0 {
		f.loseTag()
	} else if c.General.UseMiddleProxy {
		f.lose("the middle proxy (use_middle_proxy): this relay connects to Telegram directly; nothing to do")
	}
	more := slices.DeleteFunc(slices.Clone(c.Censorship.TLSDomains), func(d string) bool { return d == c.Censorship.TLSDomain })
	if len(more) > 0 {
		f.lose("links with a further name (tls_domains: %s): a user has one name here, %s; give out new links", strings.Join(more, ", "), c.Censorship.TLSDomain)
	}
	f.loseQuotas(slices.Sorted(maps.Keys(c.Access.Quotas)))
	for _, u := range c.Upstreams {
		if u.Type != "direct" && u.Type != "" && (u.Enabled == nil || *u.Enabled) {
			f.lose("the %s upstream that it reaches Telegram through: this relay connects directly", u.Type)
		}
	}
}

// telemtKept are the keys of [access] that telemtConfig has.
var telemtKept = []string{"users", "user_enabled", "user_ad_tags", "user_max_tcp_conns", "user_max_unique_ips", "user_expirations", "user_data_quota"}

// telemtIgnored are the others, and what to do about them.
var telemtIgnored = map[string]string{
	"user_rate_limits":                "rates of users; set one with relay user set NAME --rate 20Mbit",
	"user_max_tcp_conns_global_each":  "a limit of connections for everybody without one; set it with relay user set NAME --max-conns N",
	"user_max_unique_ips_global_each": "a limit of addresses for everybody without one; set it with relay user set NAME --max-ips N",
	"user_max_unique_ips_mode":        "--max-ips counts the addresses that are connected; nothing to do",
	"user_max_unique_ips_window_secs": "--max-ips counts the addresses that are connected; nothing to do",
	"user_source_deny":                "networks that a user may not come from; where nobody may, refuse them in the firewall",
	"cidr_rate_limits":                "rates of networks; a rate here is one user's: relay user set NAME --rate 20Mbit",
	"replay_check_len":                "this relay has its own memory of replays; nothing to do",
	"replay_window_secs":              "this relay has its own memory of replays; nothing to do",
	"ignore_time_skew":                "clocks of clients that are wrong; see skew below [mtproto]",
}

// telemtAccessLost tells about the keys of [access] that say something.
func (f *foreign) telemtAccessLost(access map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(access)) {
		if slices.Contains(telemtKept, key) || isNothing(access[key]) {
			continue
		}
		what := cmp.Or(telemtIgnored[key], "import does not know this key")
		names := ""
		if of, ok := access[key].(map[string]any); ok && strings.HasPrefix(key, "user_") {
			who := slices.Sorted(maps.Keys(of))
			for i := range who {
				who[i] = userName(who[i])
			}
			names = " of " + strings.Join(who, ", ")
		}
		f.lose("access.%s%s: %s", userName(key), names, what)
	}
}

// isNothing reports whether a value switches nothing on.
func isNothing(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case int64:
		return v == 0
	case bool:
		return !v
	}
	return false
}

func (f *foreign) loseQuotas(names []string) {
	if len(names) == 0 {
		return
	}
	for i := range names {
		names[i] = userName(names[i])
	}
	f.lose("quotas for ever (of %s): a quota here is for a month or some days; set one with relay user set NAME --quota 50GiB/month", strings.Join(names, ", "))
}

// tomlTime is a date as people write it there.
func tomlTime(v any) (time.Time, error) {
	switch v := v.(type) {
	case time.Time:
		return v, nil
	case toml.LocalDateTime:
		return v.AsTime(time.UTC), nil
	case toml.LocalDate:
		return v.AsTime(time.UTC), nil
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t, nil
		}
		if t, err := time.Parse(time.DateOnly, v); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New(`not a time such as "2030-12-31T00:00:00Z"`)
}
