package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"relay/relay/config"
	"relay/relay/mtproto"
)

// lines are what the configuration lacks.
func (p *importPlan) lines(cfg *config.Config, o *mtproto.Options) {
	var b strings.Builder
	for _, port := range p.Ports {
		p.listenLines(&b, cfg, port)
	}
	if p.noListener && len(p.Ports) == 0 {
		b.WriteString("# The port is that of the old links.\n")
		p.listen(&b, p.everyAddr(0), "…")
	}
	p.mtprotoLines(&b, cfg, o)
	p.coverLines(&b, cfg)
	p.Lines = strings.TrimSpace(b.String())
}

// listenLines are a listener at a port of the links, if there is none.
func (p *importPlan) listenLines(b *strings.Builder, cfg *config.Config, port uint16) {
	var others []string // who has the port
	var taken []netip.Addr
	here, both := false, false
	see := func(address, what string) {
		ap, ok := listenAddr(address)
		switch {
		case !ok || ap.Port() != port:
		case what == "mtproto":
			here, both = true, both || ap.Addr().Is6()
		default:
			others, taken = append(others, fmt.Sprintf("%s (%s)", address, what)), append(taken, ap.Addr())
		}
	}
	for _, l := range cfg.Listen {
		if slices.Contains(l.Inbounds, "mtproto") {
			see(l.Address, "mtproto")
		} else {
			see(l.Address, strings.Join(l.Inbounds, ", "))
		}
	}
	see(cfg.Cover.HTTP, "the cover")
	every := p.everyAddr(port)
	switch {
	case here && !both && every != "0.0.0.0":
		fmt.Fprintf(b, "# The old links' server takes IPv6 at port %d too, and no listener here does: write\n# address = \"[::]:%[1]d\" where it is 0.0.0.0, or add one for the IPv6 address.\n\n", port)
	case here:
	case slices.ContainsFunc(taken, netip.Addr.IsUnspecified):
		fmt.Fprintf(b, "# %s has port %d of every address: write one address there, and another one here.\n", strings.Join(others, ", "), port)
		p.listen(b, "…", fmt.Sprint(port))
	case len(taken) > 0:
		fmt.Fprintf(b, "# %s has port %d there: this has to be another address of this machine.\n", strings.Join(others, ", "), port)
		p.listen(b, p.freeAddr(taken), fmt.Sprint(port))
	default:
		p.listen(b, every, fmt.Sprint(port))
	}
	if !here {
		p.missingPorts = append(p.missingPorts, port)
	}
}

func (p *importPlan) listen(b *strings.Builder, host, port string) {
	fmt.Fprintf(b, "[[listen]]\naddress  = \"%s:%s\"\n", host, port)
	if len(p.Server) > 0 {
		fmt.Fprintf(b, "public   = %s\n", quotedList(p.Server))
	} else {
		b.WriteString("# public = [\"…\"]   # the server in the old links\n")
	}
	b.WriteString("inbounds = [\"mtproto\"]\n\n")
}

// freeAddr is an address that the links name and nobody here has, if there is one.
func (p *importPlan) freeAddr(taken []netip.Addr) string {
	for _, host := range p.Server {
		if ip, err := netip.ParseAddr(host); err == nil && !slices.Contains(taken, ip) {
			return strings.TrimSuffix(netip.AddrPortFrom(ip, 0).String(), ":0")
		}
	}
	return "…"
}

// everyAddr is every address by which clients may come to a port of the links.
func (p *importPlan) everyAddr(port uint16) string {
	if p.onIPv6(port) {
		return "[::]" // and IPv4 as well
	}
	return "0.0.0.0"
}

// onIPv6 reports whether clients may come to a port of the links with IPv6; 0: it is
// not known.
func (p *importPlan) onIPv6(port uint16) bool {
	return slices.ContainsFunc(p.from, func(f *foreign) bool {
		return (port == 0 || slices.Contains(f.Ports, port)) && (f.IPv6 || slices.ContainsFunc(f.Public, func(h string) bool { return strings.Contains(h, ":") }))
	})
}

// mtprotoLines are the kinds and the names of the links.
func (p *importPlan) mtprotoLines(b *strings.Builder, cfg *config.Config, o *mtproto.Options) {
	names, kinds := p.names(cfg, o), o.Kinds()
	if p.noListener && len(names)+len(p.missingNames) == 0 {
		kinds = nil // ee needs a name
	}
	if len(p.missingNames)+len(p.missingKinds) == 0 {
		return
	}
	b.WriteString("[mtproto]\n")
	if len(p.missingKinds) > 0 {
		var words []string
		for _, k := range append(kinds, p.missingKinds...) {
			words = append(words, string(k))
		}
		if plain := without(p.missingKinds, []mtproto.Kind{mtproto.KindFakeTLS}); len(plain) > 0 && len(words) > 1 {
			fmt.Fprintf(b, "# %s: easy to recognise, so only as long as links with them are in use\n", joined(plain))
		}
		fmt.Fprintf(b, "secrets = %s\n", quotedList(words))
	}
	if len(p.missingNames) > 0 {
		fmt.Fprintf(b, "names   = %s\n", quotedList(append(slices.Clone(names), p.missingNames...)))
	}
	b.WriteString("\n")
}

// coverLines are what the cover lacks: a prober asks it for the names that links
// show to the network.
func (p *importPlan) coverLines(b *strings.Builder, cfg *config.Config) {
	c := &cfg.Cover
	var strange []string // to a site in this process
	for _, u := range p.Users {
		if u.Under != "" && !c.IsHost(u.Under) {
			strange = appendNew(strange, u.Under)
		}
	}
	switch {
	case !c.Set() && len(p.missingNames) > 0:
		// All of these programs hand strangers to the site that they name.
		fmt.Fprintf(b, "[cover]   # what strangers see, or a site of your own\nforward = %q", p.missingNames[0]+":443")
		if len(p.missingNames) > 1 {
			b.WriteString("   # or a server that has certificates for all of these names")
		}
	case c.Forward != "" && len(p.missingNames) > 0:
		fmt.Fprintf(b, "# The server at %s, to which [cover] forwards, needs a certificate for %s.", c.Forward, strings.Join(p.missingNames, ", "))
	case c.Set() && c.Forward == "" && len(strange) > 0:
		fmt.Fprintf(b, "[cover]\nnames   = %s\n# That is for names of yours, which lead to this machine: each needs a certificate. ", quotedList(append(slices.Clone(c.Names), strange...)))
		if slices.ContainsFunc(cfg.Listen, func(l config.Listen) bool { return len(durables(l)) > 0 }) {
			b.WriteString("The\n# name of somebody else's site cannot stand beside web, whose cover is a site of yours:\n# import links that say one into another relay, with a file, a state folder and an address of its own.")
		} else {
			fmt.Fprintf(b, "For the\n# name of somebody else's site write, in place of site or proxy, certificate and http:\n# forward = %q", strange[0]+":443")
		}
	}
}

func quotedList(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w) // hosts and words of ours, so that TOML reads the same
	}
	return "[" + strings.Join(out, ", ") + "]"
}
