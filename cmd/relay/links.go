package main

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"

	"relay/auth"
	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/site"
)

// link is one way in, for a person.
type link = admin.Link

// loopback reports whether only programs on this computer can use a link.
func (a access) loopback() bool {
	ip, err := netip.ParseAddr(a.host)
	return err == nil && ip.IsLoopback()
}

func (a access) url(scheme string) string {
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))}
	if a.user != "" {
		u.User = url.UserPassword(a.user, a.password)
	}
	return u.String()
}

func socks5Links(a access, _ any) []link {
	// The order of the parameters is the one that Telegram's own links have.
	q := "server=" + url.QueryEscape(a.host) + "&port=" + strconv.Itoa(int(a.port))
	if a.user != "" {
		q += "&user=" + url.QueryEscape(a.user) + "&pass=" + url.QueryEscape(a.password)
	}
	tg := link{Protocol: "socks5", URL: "tg://socks?" + q, Note: "for Telegram: open it on the device that should use the relay", QR: true}
	if a.loopback() {
		tg.Note, tg.QR = "for Telegram Desktop on this computer", false
	}
	out := []link{tg}
	if !a.loopback() {
		out = append(out, link{
			Protocol: "socks5", URL: "https://t.me/socks?" + q,
			Note: "the same for chats where tg:// cannot be tapped; a browser shows the password to t.me",
		})
	}
	return append(out, link{Protocol: "socks5", URL: a.url("socks5h"), Note: "for curl, browsers and other programs"})
}

func httpLinks(a access, _ any) []link {
	return []link{{Protocol: "http", URL: a.url("http"), Note: "for programs that know HTTP proxies only"}}
}

// linker makes links from the listeners of a configuration, bound or not.
type linker struct {
	listens []config.Listen
	bound   []net.Addr // in the same order; nil while no relay runs
	users   *auth.Users
	tabs    []config.Table
	cover   config.Cover
	state   string
}

func linkerOf(cfg *config.Config, tabs []config.Table, users *auth.Users) linker {
	return linker{listens: cfg.Listen, users: users, tabs: tabs, cover: cfg.Cover, state: cfg.State}
}

// access is what a part needs to know of a user.
func (k linker) access(p part, r *auth.Record) access {
	a := access{record: r, realm: k.users.Realm()}
	a.place, _ = k.users.PlaceOf(p.label, r)
	a.nameless = k.users.Nameless(p.label, r)
	return a
}

// warnings say which links of a user are not there or will change, and why.
func (k linker) warnings(r *auth.Record) []string {
	var out []string
	for _, p := range parts {
		used := slices.ContainsFunc(k.listens, func(l config.Listen) bool { return slices.Contains(l.Inbounds, p.name) })
		if !used || p.warns == nil {
			continue
		}
		if w := p.warns(k.access(p, r), optionsOf(p.name, k.tabs)); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// links are all links of a user, in the order in which to try them: durable
// ones first, and the listeners as the operator wrote them. Listeners that the
// same link leads to, such as one for IPv4 and one for IPv6, have it once.
func (k linker) links(r *auth.Record) []link {
	out, seen := []link{}, make(map[string]bool)
	for i, l := range k.listens {
		burnt := k.burnt(i)
		for _, host := range k.hosts(i) {
			for _, word := range l.Inbounds {
				for _, p := range parts {
					if p.name != word || p.links == nil {
						continue
					}
					a := k.access(p, r)
					a.host, a.port, a.origin = host, k.port(i), l.Origin
					if p.certified {
						a.name, a.pin = k.named(host)
					}
					if l.Anonymous == "" {
						a.user, a.password = r.Name, r.Password(a.realm, p.label)
					}
					warnings := k.linkWarnings(i, p, a)
					for _, l := range p.links(a, optionsOf(p.name, k.tabs)) {
						if seen[l.URL] {
							continue
						}
						seen[l.URL] = true
						switch {
						case a.local():
						case burnt: // whatever hides it
							l.Lives = admin.Burnable
						default:
							l.Lives = p.lives
						}
						l.Warnings = append(l.Warnings, warnings...)
						out = append(out, l)
					}
				}
			}
		}
	}
	slices.SortStableFunc(out, func(x, y link) int { return rankOfLife[x.Lives] - rankOfLife[y.Lives] })
	return out
}

// rankOfLife is the order of links by what they are likely to last.
var rankOfLife = map[string]int{admin.Durable: 0, admin.Burnable: 1, "": 2}

// named is the name that a client asks for in TLS at a host, and the pin of the
// certificate that it gets, if the relay has signed that itself.
func (k linker) named(host string) (name, pin string) {
	name = nameAt(&k.cover, host)
	if k.cover.Certificate.Word == "self-signed" {
		pin = site.Pin(filepath.Join(k.state, certificateFile), name)
	}
	return name, pin
}

// nameAt is the name that a client asks for in TLS at a host.
func nameAt(c *config.Cover, host string) string {
	if hosts := c.Hosts(); len(hosts) > 0 && !c.IsHost(host) {
		return hosts[0]
	}
	return host
}

// address is where listener i listens: as bound, or as configured.
func (k linker) address(i int) netip.AddrPort {
	if i < len(k.bound) {
		if t, ok := k.bound[i].(*net.TCPAddr); ok {
			ap := t.AddrPort()
			return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
	}
	host, port, err := net.SplitHostPort(k.listens[i].Address)
	if err != nil {
		return netip.AddrPort{}
	}
	if host == "" {
		host = "::"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n))
}

func (k linker) port(i int) uint16 { return k.address(i).Port() }

// hosts are what links of listener i name: what the operator wrote, else the
// address it listens on, else an address of this machine.
func (k linker) hosts(i int) []string {
	if l := k.listens[i]; len(l.Public) > 0 {
		return l.Public
	}
	ip := k.address(i).Addr()
	if ip.IsValid() && !ip.IsUnspecified() {
		return []string{ip.String()}
	}
	return []string{nearest(machineAddrs(), ip).String()}
}

// nearest is the first of a machine's own addresses that a listener at a wildcard has, or
// loopback.
func nearest(own []netip.Addr, wildcard netip.Addr) netip.Addr {
	for _, ip := range own {
		if ip.Is4() || wildcard.Is6() {
			return ip
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// machineAddrs are the addresses under which others may reach this machine,
// public ones first, IPv4 before IPv6.
func machineAddrs() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var byRank [4][]netip.Addr
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if ip = ip.Unmap(); !ok || !ip.IsGlobalUnicast() {
			continue
		}
		rank := 0
		if ip.IsPrivate() {
			rank = 2
		}
		if ip.Is6() {
			rank++
		}
		byRank[rank] = append(byRank[rank], ip)
	}
	var out []netip.Addr
	for _, r := range byRank {
		out = append(out, r...)
	}
	return out
}
