package policy

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// refusedRanges is everything that is not the public Internet: the IANA IPv4
// and IPv6 special-purpose address registries (RFC 6890) where they say "not
// globally reachable", and what clouds answer on. A nil reason opens a part of
// a wider range. IPv6 is refused but for 2000::/3, the only block that IANA
// hands out as global unicast (RFC 4291, Section 2.4), so that a range that is
// put to use after this was written is refused too.
var refusedRanges = []struct {
	prefix string
	reason *DeniedError
}{
	{"0.0.0.0/8", denyUnspecified},         // RFC 791, Section 3.2; Linux connects to itself
	{"10.0.0.0/8", denyPrivate},            // RFC 1918
	{"100.64.0.0/10", denyShared},          // RFC 6598
	{"127.0.0.0/8", denyLoopback},          // RFC 1122, Section 3.2.1.3
	{"169.254.0.0/16", denyLinkLocal},      // RFC 3927
	{"172.16.0.0/12", denyPrivate},         // RFC 1918
	{"192.0.0.0/24", denyReserved},         // RFC 6890, Section 2.1; 192.0.0.192 is Oracle's metadata
	{"192.0.2.0/24", denyDocumentation},    // RFC 5737
	{"192.88.99.0/24", denyReserved},       // RFC 7526, was the 6to4 relay
	{"192.168.0.0/16", denyPrivate},        // RFC 1918
	{"198.18.0.0/15", denyBenchmark},       // RFC 2544
	{"198.51.100.0/24", denyDocumentation}, // RFC 5737
	{"203.0.113.0/24", denyDocumentation},  // RFC 5737
	{"224.0.0.0/4", denyMulticast},         // RFC 5771
	{"240.0.0.0/4", denyReserved},          // RFC 1112, Section 4
	{"255.255.255.255/32", denyBroadcast},  // RFC 919

	{"::/0", denyNotGlobal},
	{"2000::/3", nil},                    // RFC 4291, Section 2.4
	{"::/128", denyUnspecified},          // RFC 4291, Section 2.5.2
	{"::1/128", denyLoopback},            // RFC 4291, Section 2.5.3
	{"64:ff9b:1::/48", denyReserved},     // RFC 8215, NAT64 with a layout that only its network knows
	{"100::/64", denyReserved},           // RFC 6666, discard
	{"2001::/23", denyReserved},          // RFC 2928: Teredo, ORCHID, benchmarking and the like
	{"2001:db8::/32", denyDocumentation}, // RFC 3849
	{"3fff::/20", denyDocumentation},     // RFC 9637
	{"5f00::/16", denyReserved},          // RFC 9602, SRv6 SIDs
	{"fc00::/7", denyPrivate},            // RFC 4193
	{"fe80::/10", denyLinkLocal},         // RFC 4291, Section 2.5.6
	{"fec0::/10", denyPrivate},           // RFC 3879, was site-local
	{"ff00::/8", denyMulticast},          // RFC 4291, Section 2.7

	{"169.254.169.254/32", denyMetadata}, // most clouds
	{"100.100.100.200/32", denyMetadata}, // Alibaba
	{"168.63.129.16/32", denyMetadata},   // Azure's wire server: a public address, private to each VM
	{"fd00:ec2::254/128", denyMetadata},  // AWS

	// These wrap an IPv4 address and are judged by it, see unwrap. So does
	// ::ffff:0:0/96 (RFC 4291, Section 2.5.5.2), which is IPv4 before it gets here.
	{"::/96", nil},           // RFC 4291, Section 2.5.5.1, IPv4-compatible
	{"::ffff:0:0:0/96", nil}, // RFC 2765, Section 2.1, IPv4-translated
	{"64:ff9b::/96", nil},    // RFC 6052, NAT64
	{"2002::/16", nil},       // RFC 3056, 6to4
}

// The reasons of the ranges above.
var (
	denyUnspecified   = &DeniedError{"unspecified address"}
	denyPrivate       = &DeniedError{"private address"}
	denyShared        = &DeniedError{"carrier-grade NAT address"}
	denyLoopback      = &DeniedError{"loopback address"}
	denyLinkLocal     = &DeniedError{"link-local address"}
	denyReserved      = &DeniedError{"reserved address"}
	denyDocumentation = &DeniedError{"documentation address"}
	denyBenchmark     = &DeniedError{"benchmarking address"}
	denyMulticast     = &DeniedError{"multicast address"}
	denyBroadcast     = &DeniedError{"broadcast address"}
	denyMetadata      = &DeniedError{"cloud metadata address"}
)

func newRanges() *bart.Table[*DeniedError] {
	t := new(bart.Table[*DeniedError])
	for _, r := range refusedRanges {
		t.Insert(netip.MustParsePrefix(r.prefix), r.reason)
	}
	return t
}

// The forms that carry an IPv4 address in their last four bytes, and 6to4,
// which has it after its first two.
var (
	compatible = netip.MustParsePrefix("::/96")
	translated = netip.MustParsePrefix("::ffff:0:0:0/96")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
)

// unwrap returns the IPv4 address that an IPv6 address carries, invalid if
// none: a translator or tunnel on the way would deliver to that one. :: and
// ::1 are themselves and wrap nothing. IPv4-mapped addresses never get here,
// they are IPv4 by then.
func unwrap(a netip.Addr) netip.Addr {
	if a.Is4() || a.IsLoopback() || a.IsUnspecified() {
		return netip.Addr{}
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), compatible.Contains(a), translated.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}
