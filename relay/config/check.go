package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Anonymous says whether a listener serves people who are not users.
type Anonymous string

// The values of Anonymous; the empty one is nobody. In the file they are
// false, true and "public".
const (
	AnonymousLoopback Anonymous = "loopback" // on a loopback address only
	AnonymousPublic   Anonymous = "public"   // anywhere
)

// UnmarshalTOML reads true, false or "public".
func (a *Anonymous) UnmarshalTOML(v any) error {
	switch v {
	case true:
		*a = AnonymousLoopback
	case false:
		*a = ""
	case "public":
		*a = AnonymousPublic
	default:
		return errors.New(`want true, false or "public"`)
	}
	return nil
}

// MarshalTOML returns what UnmarshalTOML reads.
func (a *Anonymous) MarshalTOML() any {
	if *a == AnonymousPublic {
		return "public"
	}
	return *a == AnonymousLoopback
}

// listeners checks all [[listen]] tables, and that the metrics have an address
// of their own.
func (d *decoder) listeners(c *Config, places *place, inbounds []string) {
	var all addresses
	for i := range c.Listen {
		l, key, at := &c.Listen[i], item("listen", i), places.at("listen").item(i)
		fault := d.relative(key, at)
		l.checkAddress(fault)
		all.add(l.Address, key, "address", at, fault)
		l.checkPublic(fault)
		l.checkProxied(fault)
		l.checkCover(&c.Cover, fault)
		l.checkOrigin(fault)
		d.inbounds(l, at.at("inbounds"), key+".inbounds", inbounds)
	}
	cover, admin := places.at("cover"), places.at("admin")
	all.add(c.Cover.HTTP, "cover", "http", cover, d.relative("cover", cover))
	all.add(c.Admin.Metrics, "admin", "metrics", admin, d.relative("admin", admin))
}

// inbounds checks the words of one listener. The key of a fault is that of the
// array, its line that of the word, which the problem quotes.
func (d *decoder) inbounds(l *Listen, at *place, key string, known []string) {
	words := l.Inbounds
	if len(words) == 0 && !d.spoiled(key) && (l.Cover == nil || !*l.Cover) {
		d.add(at.line, key, "missing", "known inbounds: "+strings.Join(known, ", "))
	}
	seen := map[string]bool{}
	for i, word := range words {
		line := at.item(i).line
		switch {
		case d.bad[item(key, i)]:
		case !slices.Contains(known, word):
			d.add(line, key, "unknown inbound "+shown(word), suggest(word, known, "inbounds"))
		case seen[word]:
			d.add(line, key, shown(word)+" is listed twice", "they are tried in order, each once")
		}
		seen[word] = true
	}
}

// checkAddress checks the address, and who may come to it unknown.
func (l *Listen) checkAddress(fault func(key, problem, hint string)) {
	address, problem, hint := parseAddress(l.Address)
	if problem != "" {
		fault("address", problem, hint)
		return
	}
	if l.Anonymous == AnonymousLoopback && !address.Addr().IsLoopback() {
		fault("anonymous", fmt.Sprintf("true on %s, which is not a loopback address", shown(l.Address)), `write anonymous = "public" if you mean it`)
	}
}

// checkPublic checks the hosts that links are made from.
func (l *Listen) checkPublic(fault func(key, problem, hint string)) {
	for i, host := range l.Public {
		key := item("public", i)
		if ip, err := netip.ParseAddr(host); err == nil {
			switch {
			case ip.Zone() != "":
				fault(key, shown(host)+" is an address of one interface here", "write an address that clients elsewhere can connect to")
			case ip.Is4In6():
				fault(key, shown(host)+" is an IPv4 address written as an IPv6 one, which not every client takes", fmt.Sprintf("write %q", ip.Unmap()))
			}
			continue
		}
		switch _, err := netip.ParseAddrPort(host); {
		case host == "":
			fault(key, "empty", "write the address or the name that clients connect to")
		case err == nil, strings.ContainsAny(host, ":/"):
			fault(key, shown(host)+" is more than a host", `write the host alone, such as "www.example.org": the port is that of the listener`)
		case !isHost(host), endsInNumber(host):
			fault(key, shown(host)+" is not a host", `write it such as "203.0.113.5" or "www.example.org"`)
		}
	}
}

// isHost reports whether s could be a name in the DNS (RFC 1123, Section 2.1);
// international names are written in their xn-- form.
func isHost(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isBare(label) || len(label) > 63 {
			return false
		}
	}
	return len(s) <= 253
}

// endsInNumber reports whether clients take a name for an IPv4 address, in a form
// such as 127.1 or 0x7f.1 that each reads differently (URL Standard, Section 3.5).
func endsInNumber(name string) bool {
	last := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// parseAddress reads "ip:port" or ":port". ":443" and "[::]:443" are the same
// to the system, and so is an IPv4 address written as an IPv6 one.
func parseAddress(s string) (a netip.AddrPort, problem, hint string) {
	const example = `write it such as "203.0.113.5:443", "[2001:db8::5]:443" or ":443"`
	if s == "" {
		return a, "missing", example
	}
	colon := strings.LastIndex(s, ":")
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil || colon < 0 {
		return a, shown(s) + " has no port", example
	}
	host, port := s[:colon], s[colon+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if errors.Is(err, strconv.ErrRange) {
		return a, "port " + shown(port) + " is out of range", "ports are 1 to 65535; 0 lets the system pick one"
	}
	if err != nil {
		return a, shown(port) + " is not a port", example
	}
	ip := netip.IPv6Unspecified()
	if host != "" {
		bare, bracketed := strings.CutPrefix(host, "[")
		if ip, err = netip.ParseAddr(strings.TrimSuffix(bare, "]")); err != nil {
			return a, shown(host) + " is not an IP address", "names of hosts go into public; " + example
		}
		if bracketed != ip.Is6() || bracketed != strings.HasSuffix(host, "]") {
			return a, shown(s) + " is not an address", example
		}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), "", ""
}

// Check reports values that would stop the relay from working.
func (l *Limits) Check(fault func(key, problem, hint string)) {
	for _, t := range []struct {
		key string
		d   time.Duration
	}{
		{"handshake_timeout", l.HandshakeTimeout},
		{"idle_timeout", l.IdleTimeout},
		{"fin_timeout", l.FinTimeout},
		{"drain_timeout", l.DrainTimeout},
	} {
		// Every wait has a limit; zero would mean none to half of the readers.
		if t.d <= 0 {
			fault(t.key, "must be longer than zero", `write it such as "30s", "1h30m" or "2d"`)
		}
	}
	if l.Connections < 0 {
		fault("connections", fmt.Sprintf("%d is negative", l.Connections), "0 takes it from the descriptor limit")
	}
	if l.PerSource < 1 {
		fault("per_source", fmt.Sprintf("%d would let nobody in", l.PerSource), "sources that need no limit go into trusted")
	}
	if l.Backlog < 1 || l.Backlog > 1<<16 {
		fault("backlog", fmt.Sprintf("%d is out of range", l.Backlog), "1 to 65536; the kernel cuts it to net.core.somaxconn")
	}
	// A messenger opens this many at its start.
	if l.Burst != 0 && l.Burst < 24 {
		fault("burst", fmt.Sprintf("%d would refuse real clients", l.Burst), "24 or more; 0 is no limit")
	}
	if l.BurstPerSecond <= 0 {
		fault("burst_per_second", "must be more than zero", "1.0 is one connection in a second")
	}
	for i, s := range l.Trusted {
		p, err := netip.ParsePrefix(s)
		ip, ipErr := netip.ParseAddr(s)
		switch {
		case ipErr == nil && ip.Zone() == "":
			fault(item("trusted", i), shown(s)+" has no prefix length", fmt.Sprintf("for this one address write %q", netip.PrefixFrom(ip, ip.BitLen())))
		case err != nil:
			fault(item("trusted", i), shown(s)+" is not a range of addresses", `write it such as "192.0.2.0/24" or "2001:db8::/32"`)
		case p != p.Masked():
			fault(item("trusted", i), shown(s)+" is an address within a range", fmt.Sprintf("write %q", p.Masked()))
		}
	}
}

// Check reports unknown words, and the level "debug": debug lines show who
// goes where, so they are asked for each time and never left on in a file.
func (l *Log) Check(fault func(key, problem, hint string)) {
	formats, levels := []string{"text", "json"}, []string{"info", "warn", "error"}
	if !slices.Contains(formats, l.Format) {
		fault("format", "unknown format "+shown(l.Format), suggest(l.Format, formats, "formats"))
	}
	switch {
	case strings.EqualFold(l.Level, "debug"):
		fault("level", `"debug" is not for the file`, "debug shows targets: only the command line flag --log-level debug turns it on")
	case !slices.Contains(levels, l.Level):
		fault("level", "unknown level "+shown(l.Level), suggest(l.Level, levels, "levels"))
	}
}

// Check reports an address for the metrics that others could reach.
func (a *Admin) Check(fault func(key, problem, hint string)) {
	if a.Metrics == "" {
		return
	}
	const example = `write it such as "127.0.0.1:9090"`
	address, problem, _ := parseAddress(a.Metrics)
	switch {
	case problem != "":
		fault("metrics", problem, example)
	case !address.Addr().IsLoopback():
		fault("metrics", shown(a.Metrics)+" is not a loopback address", "metrics have no password: "+example+" and forward the port")
	}
}
