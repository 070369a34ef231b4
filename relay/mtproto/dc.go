package mtproto

import (
	"fmt"
	"net/netip"

	"relay/transport"
)

const (
	defaultDC = 2
	testDC    = 10000 // is added to the number of a test data centre
	dcPort    = 443

	// webDCs have a server for WebSocket; 203 has none.
	webDCs = 5
)

// builtin are the addresses of the data centres (tdesktop,
// mtproto_dc_options.cpp; tdlib, td/telegram/net/ConnectionCreator.cpp). 203 is
// the CDN's, which clients learn of by themselves: without it, text works and
// media does not.
var builtin = map[int][]string{
	1:          {"149.154.175.50", "2001:b28:f23d:f001::a"},
	2:          {"149.154.167.51", "95.161.76.100", "2001:67c:4e8:f002::a"},
	3:          {"149.154.175.100", "2001:b28:f23d:f003::a"},
	4:          {"149.154.167.91", "2001:67c:4e8:f004::a"},
	5:          {"149.154.171.5", "2001:b28:f23f:f005::a"},
	203:        {"91.105.192.100", "2a0a:f280:203:a:5000::100"},
	testDC + 1: {"149.154.175.10", "2001:b28:f23d:f001::e"},
	testDC + 2: {"149.154.167.40", "2001:67c:4e8:f002::e"},
	testDC + 3: {"149.154.175.117", "2001:b28:f23d:f003::e"},
}

// builtinAddrs returns the addresses of builtin with their port.
func builtinAddrs() map[int][]netip.AddrPort {
	all := make(map[int][]netip.AddrPort, len(builtin))
	for dc, hosts := range builtin {
		for _, h := range hosts {
			all[dc] = append(all[dc], netip.AddrPortFrom(netip.MustParseAddr(h), dcPort))
		}
	}
	return all
}

// builtinWeb are the servers that Telegram's web clients use (tweb,
// src/lib/mtproto/dcConfigurator.ts): those for files have names of their own,
// and those for tests a path.
func builtinWeb(dc int, media bool) []Way {
	suffix, path := "", "/apiws"
	if media {
		suffix = "-1"
	}
	if dc > testDC {
		dc, path = dc-testDC, path+"_test"
	}
	to, err := transport.NameTarget(fmt.Sprintf("kws%d%s.web.telegram.org", dc, suffix), webPort)
	if err != nil || dc > webDCs {
		return nil
	}
	return []Way{{to, path}}
}

// number takes the id of a frame apart: negative ids ask for a connection that
// is for media only, at the same data centre. Clients that do not know theirs
// yet write 0, and mean 2.
func number(id int16) (dc int, media bool) {
	dc = int(id)
	if dc < 0 {
		dc, media = -dc, true
	}
	if dc == 0 || dc == testDC {
		dc += defaultDC
	}
	return dc, media
}

// stand is the data centre that serves in place of one that is not known: any
// one can, only slower. Those for tests have accounts of their own.
func stand(dc int) int {
	if dc > testDC {
		return testDC + defaultDC
	}
	return defaultDC
}

// idOf puts an id together. It fits: those are the numbers of builtin, of the
// configuration, which has them checked, or of a frame.
func idOf(dc int, media bool) int16 {
	if media {
		return int16(-dc)
	}
	return int16(dc)
}
