package web

import (
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
)

// Origin is about requests without TLS, which a CDN or a proxy brings: SPEC.md,
// Section 5.
type Origin struct {
	// Proxies tells the addresses that such requests come from and that say the
	// truth about clients. Nil: none.
	Proxies func(netip.Addr) bool
	// ClientHeader is the header with the client's address; the last one there
	// that is none of Proxies counts.
	ClientHeader string
	// SecretHeader, if not empty, is a header that must have the value Secret: the
	// CDN adds it, and whoever finds the origin cannot.
	SecretHeader, Secret string
}

// ClaimOrigin is Claim for requests to an origin.
func (h *Handler) ClaimOrigin(o Origin) func(*http.Request) (http.Handler, bool) {
	return func(r *http.Request) (http.Handler, bool) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return nil, false
		}
		if o.SecretHeader != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get(o.SecretHeader)), []byte(o.Secret)) != 1 {
			return nil, false
		}
		// Strangers' headers are not read: they can be long.
		return h.claim(r, func() netip.Addr { return o.client(r, peer.Addr().Unmap().WithZone("")) })
	}
}

// client is the address of the client, as far as it can be known.
func (o *Origin) client(r *http.Request, peer netip.Addr) netip.Addr {
	if o.Proxies == nil || !o.Proxies(peer) || o.ClientHeader == "" {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values(o.ClientHeader), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return peer
		}
		if peer = a.Unmap().WithZone(""); !o.Proxies(peer) {
			return peer
		}
	}
	return peer
}
