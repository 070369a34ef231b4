package policy

import (
	"net/netip"
	"strings"
)

// tiedNames are names that mean one place whatever a name server says. They
// pass only if an allow rule opens that place.
var tiedNames = map[string][]netip.Addr{
	// RFC 6761, Section 6.3, and what distributions write into /etc/hosts.
	"localhost":               loopbacks,
	"localhost.localdomain":   loopbacks,
	"localhost4":              loopbacks,
	"localhost4.localdomain4": loopbacks,
	"localhost6":              loopbacks,
	"localhost6.localdomain6": loopbacks,
	"ip6-localhost":           loopbacks,
	"ip6-loopback":            loopbacks,

	// What clouds call the service that hands out the machine's credentials.
	"metadata":                     metadataAddrs, // Google, Tencent
	"metadata.google.internal":     metadataAddrs,
	"metadata.goog":                metadataAddrs,
	"metadata.azure.internal":      metadataAddrs,
	"metadata.tencentyun.com":      metadataAddrs,
	"metadata.platformequinix.com": metadataAddrs,
	"metadata.packet.net":          metadataAddrs,
	"instance-data":                metadataAddrs, // AWS
	"instance-data.ec2.internal":   metadataAddrs,
}

var (
	loopbacks     = []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	metadataAddrs = []netip.Addr{netip.AddrFrom4([4]byte{169, 254, 169, 254})}
)

// localSuffixes are the domains of private networks: their names mean
// something else, or nothing, outside. They pass only if an allow rule names
// them.
var localSuffixes = map[string]bool{
	"local":       true, // RFC 6762
	"internal":    true, // reserved by ICANN, 2024; clouds and Docker use it
	"intranet":    true, // RFC 6762, Appendix G, and the next five
	"private":     true,
	"corp":        true,
	"home":        true,
	"lan":         true,
	"localdomain": true,
	"home.arpa":   true, // RFC 8375
	"onion":       true, // RFC 7686: must never reach a name server
	"alt":         true, // RFC 9476: not in the DNS
}

// tiedTo returns the addresses that a name stands for whatever DNS says; nil
// for an ordinary name.
func tiedTo(name string) []netip.Addr {
	if tied := tiedNames[name]; tied != nil {
		return tied
	}
	if strings.HasSuffix(name, ".localhost") {
		return loopbacks
	}
	return nil
}

// localName returns why a name belongs to a private network; nil if it does not.
func localName(name string) *DeniedError {
	if localSuffixes[name] {
		return denyName
	}
	dotted := false
	for parent := range parents(name) {
		if localSuffixes[parent] {
			return denyName
		}
		dotted = true
	}
	if !dotted {
		// Only the search list of a local resolver makes sense of it.
		return denySingle
	}
	return nil
}
