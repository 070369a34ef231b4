package main

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"relay/auth"
	"relay/relay"
	"relay/relay/config"
	"relay/relay/site"
	"relay/relay/vless"
	"relay/transport/web"
)

// webAgrees checks the listeners that name web against [cover], as the site is what
// carries it.
func webAgrees(_ any, c *config.Config, fault faultFunc) {
	for i, l := range c.Listen {
		key := fmt.Sprintf("listen[%d].", i)
		if !slices.Contains(l.Inbounds, "web") {
			continue
		}
		if c.Cover.Site == "" && c.Cover.Proxy == "" {
			fault(key+"inbounds", "web is carried by the site of this relay, and there is none", `write a [cover] with site = "/folder" or proxy = "http://127.0.0.1:8080"`)
		}
		if l.Cover != nil && !*l.Cover {
			fault(key+"cover", "web is carried by the cover", "remove cover = false")
		}
		if l.Anonymous != "" {
			fault(key+"anonymous", "web finds its users by their paths, and this listener serves people without one", "give web a listener of its own")
		}
	}
}

// webLoad reads the secret that a CDN adds, if it is in a file of its own.
func webLoad(options any) ([]finding, error) {
	c := options.(*web.Config)
	open, err := c.ReadSecret()
	switch {
	case err != nil:
		return nil, hinted{fmt.Errorf("[web] secret_file: %w", err), "Without it nobody's request to an origin is a user's."}
	case open:
		return []finding{finding(fmt.Sprintf("[web] secret_file: everybody on this machine can read %s; chmod o= %[1]s", c.SecretFile))}, nil
	}
	return nil, nil
}

// webPrepare makes users findable by their paths before anybody is served.
func webPrepare(_ *config.Config, _ any, users *auth.Users) ([]finding, error) {
	return nil, users.Index(web.Label)
}

// webClaims are what the site asks about requests, on TLS and from a CDN. The
// handler outlives a reload, as a session's requests may come to different sites.
func webClaims(e env, options any) (secure, origin site.Claim) {
	h := e.keep("web", func() any {
		return web.New(web.Options{
			Find:   func(password string) (auth.User, bool) { return e.users.Find(web.Label, password) },
			Sink:   e.sink([]relay.Inbound{&vless.Inbound{UUID: e.users.UUID, Packets: true}}),
			Server: site.Server,
		})
	}).(*web.Handler)
	c := options.(*web.Config)
	var proxies func(netip.Addr) bool
	if len(c.Proxies) > 0 {
		proxies = ranges(c.Proxies).Contains
	}
	return h.Claim, h.ClaimOrigin(c.Origin(proxies))
}

// xhttpShared has Xray put all streams into three connections, as later versions do by
// themselves: v26.3.27 opens one for each, and censors count them. A target that takes
// nothing holds up the uploads of its connection for a while: SPEC.md of transport/web,
// Section 8.
const xhttpShared = `{"xmux":{"maxConnections":3,"hMaxRequestTimes":"600-900","hMaxReusableSecs":"1800-3000"}}`

// webLinks are what clients of VLESS take: XHTTP first, as it shares connections.
func webLinks(a access, _ any) []link {
	id, ok := a.record.UUID(a.realm, web.Label)
	if !ok || a.password == "" {
		return nil
	}
	port, name, mode := a.port, a.name, "stream-one"
	if a.origin {
		// The CDN's own port and name; most of them collect what goes up.
		port, name, mode = 443, a.host, "packet-up"
	}
	make := func(l vless.Link, note string) link {
		l.UUID, l.Host, l.Port, l.TLS = id, a.host, port, true
		l.SNI, l.Header, l.Fingerprint = name, name, "chrome"
		l.Remark = name + " " + l.Type
		if pin, err := hex.DecodeString(a.pin); err == nil && len(pin) == 32 && !a.origin {
			l.Pins = [][32]byte{[32]byte(pin)}
		}
		return link{Protocol: "vless-" + l.Type, URL: l.String(), Note: note, QR: !a.loopback()}
	}
	path := "/" + a.password + "/"
	xhttp := vless.Link{Type: vless.TypeXHTTP, Path: path, Mode: mode, ALPN: []string{"h2"}, Extra: vless.Extra{Raw: xhttpShared}}
	ws := vless.Link{Type: vless.TypeWS, Path: path, Early: 2048, ALPN: []string{"http/1.1"}}
	return []link{
		make(xhttp, "for apps with an Xray core, such as v2rayNG, v2rayN, Streisand and Happ: copy it and import from the clipboard"),
		make(ws, "the same over WebSocket, for sing-box, NekoBox, Hiddify and apps that do not know xhttp"),
	}
}

// webPassword reads a path from elsewhere.
func webPassword(text string, _ any) (password, place string, err error) {
	return text, "", web.CheckPassword(text)
}

// webFindings warns of what gives a site away, or keeps clients out.
func webFindings(cfg *config.Config, l config.Listen, options any) []finding {
	out, err := webLoad(options)
	if err != nil {
		out = append(out, finding(fmt.Sprintf("%v: the relay does not start", err)))
	}
	if l.Origin {
		return append(out, originFindings(cfg, l, options.(*web.Config))...)
	}
	if ap, ok := listenAddr(l.Address); ok && ap.Port() != 443 && !ap.Addr().IsLoopback() {
		out = append(out, finding(fmt.Sprintf("%s: a web site on another port than 443 is rare, and some networks let nothing else pass", l.Address)))
	}
	return out
}

// originFindings are those of a listener that a CDN connects to.
func originFindings(cfg *config.Config, l config.Listen, c *web.Config) []finding {
	var out []finding
	if ap, ok := listenAddr(l.Address); ok && !ap.Addr().IsLoopback() && !ap.Addr().IsPrivate() && c.SecretHeader == "" {
		out = append(out, finding(fmt.Sprintf("%s: an origin on a public address speaks plain HTTP to everybody: let the firewall pass the CDN's addresses only, and write secret_header below [web]", l.Address)))
	}
	if len(l.Public) == 0 {
		out = append(out, finding(fmt.Sprintf("%s: there are no links to an origin without the names of the CDN in public", l.Address)))
	}
	for _, name := range l.Public {
		if !slices.ContainsFunc(cfg.Cover.Hosts(), func(host string) bool { return strings.EqualFold(host, name) }) {
			out = append(out, finding(fmt.Sprintf("%s: %s is not a name of the cover: who visits it through the CDN gets an empty page, and not the site; write it to names in [cover], or have the CDN send a name of the cover as Host", l.Address, name)))
		}
	}
	return out
}
