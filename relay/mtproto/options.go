package mtproto

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/transport"
)

// Options is the [mtproto] table.
type Options struct {
	// Secrets are the kinds of secret that open the relay: "ee", "dd",
	// "simple", which includes dd. The last two look like noise and like nothing
	// else, which is enough to be noticed, and are only served when they are
	// named. Empty means ee.
	Secrets []string `toml:"secrets"`
	// Names are the server names in ee secrets.
	Names []string `toml:"names"`
	// DCs replaces the ways to data centres, by number, and adds some: addresses,
	// and URLs of servers that take the stream over WebSocket. A data centre
	// that is in it has no others.
	DCs map[string][]string `toml:"dcs"`
	// WebSocket says when data centres are reached over WebSocket, at Telegram's
	// servers for web clients: "fallback" means when no address of the data
	// centre can be reached, or "always", "never". Empty means fallback.
	WebSocket string `toml:"websocket"`
	// Probe is about how often the addresses are tried of data centres that
	// clients use. 0 means not at all: a client's connection finds out.
	Probe time.Duration `toml:"probe"`
	// Skew is by how much the clock of a client with an ee secret may be wrong.
	// 0 means two minutes.
	Skew time.Duration `toml:"skew"`
	// Prefer is the family of addresses that is tried first: "ipv4", "ipv6".
	// Empty means ipv4.
	Prefer string `toml:"prefer"`
	// Records says how large the records of FakeTLS are that clients get:
	// "growing" begins each burst with small ones, as servers do for slow lines,
	// "full" has none but the largest. Empty means growing.
	Records string `toml:"records"`
	// Reencrypt gives the links to the client and to the data centre
	// independent keys, at the cost of two passes of AES.
	Reencrypt bool `toml:"reencrypt"`
	// UnknownDC says what becomes of a client that asks for a data centre that
	// is not in the table: "fallback" serves it from number 2, "refuse" does
	// not. Empty means fallback.
	UnknownDC string `toml:"unknown_dc"`
}

const (
	defaultSkew = 2 * time.Minute
	maxSkew     = 24 * time.Hour

	defaultProbe = 10 * time.Minute
	minProbe     = time.Second
	maxProbe     = 24 * time.Hour

	// minSecretName is what tdesktop wants of a name in a secret
	// (mtproto_proxy_data.cpp).
	minSecretName = 4

	maxDC = 9999
)

// The words of the options.
const (
	ipv4     = "ipv4"
	ipv6     = "ipv6"
	fallback = "fallback"
	refuse   = "refuse"
	always   = "always"
	never    = "never"
	growing  = "growing"
	full     = "full"
)

// NewOptions returns the defaults.
func NewOptions() *Options {
	return &Options{
		Secrets: []string{string(KindFakeTLS)}, Skew: defaultSkew, Prefer: ipv4, UnknownDC: fallback,
		WebSocket: fallback, Probe: defaultProbe, Records: growing,
	}
}

// Kinds are the kinds of secret that open the relay.
func (o *Options) Kinds() []Kind {
	if len(o.Secrets) == 0 {
		return []Kind{KindFakeTLS}
	}
	kinds := make([]Kind, len(o.Secrets))
	for i, s := range o.Secrets {
		kinds[i] = Kind(s)
	}
	return kinds
}

// Plain are those of Kinds that are used on the wire, for Inbound.Plain.
func (o *Options) Plain() []Kind {
	return slices.DeleteFunc(o.Kinds(), func(k Kind) bool { return k == KindFakeTLS })
}

// MaxSkew is Skew, or its default.
func (o *Options) MaxSkew() time.Duration {
	if o.Skew == 0 {
		return defaultSkew
	}
	return o.Skew
}

// FullRecords reports whether Records is "full".
func (o *Options) FullRecords() bool { return o.Records == full }

// Table returns the table of data centres, which shares what it learns with all
// that have the same h; nil is one of its own. What Check finds fault with is not
// in it.
func (o *Options) Table(h *Health) *Table {
	t := TableOptions{
		PreferIPv6: o.Prefer == ipv6, RefuseUnknown: o.UnknownDC == refuse, Health: h,
		Addrs: make(map[int][]netip.AddrPort), Web: make(map[int][]Way), WebSocket: FallbackWeb,
	}
	switch o.WebSocket {
	case always:
		t.WebSocket = AlwaysWeb
	case never:
		t.WebSocket = NeverWeb
	}
	for key, list := range o.DCs {
		dc, ok := parseDC(key)
		if !ok {
			continue
		}
		for _, text := range list {
			if w, err := ParseWay(text); err == nil {
				t.Addrs[dc] = slices.Clip(t.Addrs[dc]) // it is changed, even if it has none
				t.Web[dc] = append(t.Web[dc], w)
			} else if a, err := netip.ParseAddrPort(text); err == nil && a.Port() != 0 && a.Addr().Zone() == "" {
				t.Addrs[dc] = append(t.Addrs[dc], a)
			}
		}
	}
	return NewTable(t)
}

// Check reports every fault; key is relative to the table.
func (o *Options) Check(fault func(key, problem, hint string)) {
	o.checkSecrets(fault)
	o.checkNames(fault)
	for _, key := range slices.Sorted(maps.Keys(o.DCs)) {
		checkDC(key, o.DCs[key], fault)
		o.checkWeb(key, o.DCs[key], fault)
	}
	if o.Skew < 0 || o.Skew > maxSkew {
		fault("skew", fmt.Sprintf("%v is out of range", o.Skew), `write a duration from "1s" to "24h"; "2m" suits most telephones`)
	}
	if o.Probe != 0 && (o.Probe < minProbe || o.Probe > maxProbe) {
		fault("probe", fmt.Sprintf("%v is out of range", o.Probe), `write a duration from "1s" to "24h", or "0" for no probes; "10m" is enough`)
	}
	oneOf("websocket", o.WebSocket, []string{fallback, always, never}, fault)
	oneOf("prefer", o.Prefer, []string{ipv4, ipv6}, fault)
	oneOf("records", o.Records, []string{growing, full}, fault)
	oneOf("unknown_dc", o.UnknownDC, []string{fallback, refuse}, fault)
}

func (o *Options) checkSecrets(fault func(key, problem, hint string)) {
	const hint = `the kinds are "ee", "dd" and "simple"`
	if o.Secrets != nil && len(o.Secrets) == 0 {
		fault("secrets", "empty", hint+`; without this line it is "ee"`)
	}
	for i, s := range o.Secrets {
		key := fmt.Sprintf("secrets[%d]", i)
		switch Kind(s) {
		case KindFakeTLS, KindPadded, KindSimple:
			if slices.Contains(o.Secrets[:i], s) {
				fault(key, fmt.Sprintf("%q is there twice", s), "write each kind once")
			}
		default:
			// Not the text: a secret is easily written here by mistake.
			fault(key, "not a kind of secret", hint+"; users' secrets are made by the relay and not written here")
		}
	}
}

func (o *Options) checkNames(fault func(key, problem, hint string)) {
	for i, name := range o.Names {
		key := fmt.Sprintf("names[%d]", i)
		to, err := transport.NameTarget(name, dcPort)
		switch {
		case err != nil || !to.IsName():
			fault(key, fmt.Sprintf("%q is not a host name", name), `write it such as "cdn.example.net", without a port`)
		case to.Name() != name:
			fault(key, fmt.Sprintf("%q is not in its usual form", name), fmt.Sprintf("write %q", to.Name()))
		case len(name) < minSecretName || len(name) > maxSecretName:
			fault(key, fmt.Sprintf("%q has %d bytes", name, len(name)), fmt.Sprintf("clients take names of %d to %d bytes", minSecretName, maxSecretName))
		case slices.Contains(o.Names[:i], name):
			fault(key, fmt.Sprintf("%q is there twice", name), "write each name once")
		}
	}
}

// parseDC reads the number of a data centre.
func parseDC(key string) (dc int, ok bool) {
	n, err := strconv.Atoi(key)
	if err != nil || strconv.Itoa(n) != key {
		return 0, false
	}
	return n, n > 0 && n <= maxDC || n > testDC && n <= testDC+maxDC
}

func checkDC(name string, addrs []string, fault func(key, problem, hint string)) {
	const example = `write addresses such as "149.154.167.51:443" or "[2001:67c:4e8:f002::a]:443"`
	key := "dcs." + strconv.Quote(name)
	if _, ok := parseDC(name); !ok {
		hint := `write a number such as "2"; those for tests are 10000 more, such as "10002"`
		if strings.HasPrefix(name, "-") {
			hint = "leave the sign out: media comes from the same addresses"
		}
		fault(key, fmt.Sprintf("%q is not the number of a data centre", name), hint)
	}
	if len(addrs) == 0 {
		fault(key, "has no address", example+", or remove the line to use the known ones")
	}
	for i, text := range addrs {
		checkAddr(fmt.Sprintf("%s[%d]", key, i), text, addrs[:i], example, fault)
	}
}

// checkWeb checks the ways of one data centre against WebSocket.
func (o *Options) checkWeb(name string, ways []string, fault func(key, problem, hint string)) {
	has := slices.ContainsFunc(ways, func(text string) bool { return strings.HasPrefix(text, webScheme) })
	key := "dcs." + strconv.Quote(name)
	switch {
	case o.WebSocket == never && has:
		fault(key, `has a wss:// URL, and websocket = "never"`, "remove one of the two")
	case o.WebSocket == always && !has && len(ways) > 0:
		fault(key, `has no wss:// URL, and websocket = "always"`, `add one, such as "wss://kws2.web.telegram.org/apiws" for data centre 2`)
	}
}

func checkAddr(key, text string, before []string, example string, fault func(key, problem, hint string)) {
	if strings.Contains(text, "://") {
		if _, err := ParseWay(text); err != nil {
			fault(key, fmt.Sprintf("%q is not a wss:// URL with a host", text), `write it such as "wss://kws2.web.telegram.org/apiws"`)
		} else if slices.Contains(before, text) {
			fault(key, fmt.Sprintf("%q is there twice", text), "write each address once")
		}
		return
	}
	a, err := netip.ParseAddrPort(text)
	host, port, splitErr := net.SplitHostPort(text)
	n, portErr := strconv.ParseUint(port, 10, 16)
	switch {
	case err == nil && a.Port() != 0 && a.Addr().Zone() == "":
		if slices.Contains(before, text) {
			fault(key, fmt.Sprintf("%q is there twice", text), "write each address once")
		}
	case splitErr != nil || port == "":
		fault(key, fmt.Sprintf("%q has no port", text), example)
	case portErr != nil || n == 0:
		fault(key, fmt.Sprintf("%q is not a port", port), "ports are numbers from 1 to 65535; data centres have 443")
	default:
		fault(key, fmt.Sprintf("%q is not an address", host), example+": names are not looked up here")
	}
}

func oneOf(key, got string, words []string, fault func(key, problem, hint string)) {
	if got != "" && !slices.Contains(words, got) {
		fault(key, fmt.Sprintf("%q is not one of its words", got), `write "`+strings.Join(words, `" or "`)+`"`)
	}
}
