package policy

import "slices"

// preset is what one messenger needs to be reached. An entry of hosts is the
// host part of a rule, and goes with every one of the ports.
type preset struct {
	name  string
	ports []uint16
	hosts []string
}

// presets is the table of messengers. The lists were taken from public
// sources in November 2026; an operator adds what has changed since with
// "allow".
var presets = []preset{
	{
		// Networks: core.telegram.org/resources/cidr.txt. 95.161.64.0/20 is not
		// in that file but holds 95.161.76.100, an address of DC 2 (tdlib,
		// td/telegram/net/ConnectionCreator.cpp).
		// Names: the WebSocket way to a DC (tdlib and Flowseal/tg-ws-proxy:
		// kws1..5, pluto, venus, aurora, vesta, flora, all in
		// web.telegram.org), getProxyConfig on core.telegram.org, links on t.me.
		// Ports: tdlib tries 443, 80 and 5222.
		name:  "telegram",
		ports: []uint16{80, 443, 5222},
		hosts: []string{
			"91.105.192.0/23", "91.108.4.0/22", "91.108.8.0/22", "91.108.12.0/22", "91.108.16.0/22",
			"91.108.20.0/22", "91.108.56.0/22", "95.161.64.0/20", "149.154.160.0/20", "185.76.151.0/24",
			"2001:67c:4e8::/48", "2001:b28:f23c::/48", "2001:b28:f23d::/48", "2001:b28:f23f::/48", "2a0a:f280::/32",
			".telegram.org", ".t.me",
		},
	},
	{
		// signalapp/Signal-TLS-Proxy, data/nginx-relay/nginx.conf of
		// 2026-01-22, exact names as there; the second half is Signal's
		// staging, which that proxy carries too. The chat connection is
		// grpc.chat since libsignal's rust/net/src/env.rs has it.
		name:  "signal",
		ports: []uint16{443},
		hosts: []string{
			"chat.signal.org", "grpc.chat.signal.org", "storage.signal.org", "cdn.signal.org", "cdn2.signal.org",
			"cdn3.signal.org", "cdsi.signal.org", "contentproxy.signal.org", "svr2.signal.org", "svrb.signal.org",
			"updates.signal.org", "updates2.signal.org", "sfu.voip.signal.org",

			"chat.staging.signal.org", "grpc.chat.staging.signal.org", "storage-staging.signal.org",
			"cdn-staging.signal.org", "cdn2-staging.signal.org", "cdn3-staging.signal.org", "cdsi.staging.signal.org",
			"sfu.staging.voip.signal.org", "svr2.staging.signal.org", "svrb.staging.signal.org",
		},
	},
	{
		// WhatsApp/proxy, proxy/src/proxy_config.cfg of 2026-07-30: chat goes to
		// g.whatsapp.net on 80 and 5222, media to whatsapp.net on 443. 587 is the
		// port on which clients bring media to a proxy; it is here for relays
		// that pass a client's port on as it came, and opens no mail server but
		// WhatsApp's own.
		name:  "whatsapp",
		ports: []uint16{80, 443, 587, 5222},
		hosts: []string{".whatsapp.net", ".whatsapp.com"},
	},
}

// presetNames lists what may be written in the config.
func presetNames() []string {
	var names []string
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

// presetRules returns the rules of one preset; nil if there is none of that name.
func presetRules(name string) ([]rule, error) {
	i := slices.IndexFunc(presets, func(p preset) bool { return p.name == name })
	if i < 0 {
		return nil, nil
	}
	var rules []rule
	for _, host := range presets[i].hosts {
		r, err := parseRule(host)
		if err != nil {
			return nil, err
		}
		for _, port := range presets[i].ports {
			r.ports = portRange{port, port}
			rules = append(rules, r)
		}
	}
	return rules, nil
}
