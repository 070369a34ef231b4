package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"

	"relay/relay/upstream"
	"relay/relay/vless"
	"relay/transport"
	"relay/transport/browser"
	"relay/transport/web"
)

// muxSockets is how many streams share a WebSocket, which is a connection, or a download
// over HTTP/1.1, which has one: with three of them a messenger has enough.
const muxSockets = 24

// drawPad draws the padding of an opening.
func drawPad() int { return rand.IntN(vless.MaxPad + 1) } //nolint:gosec // nothing secret

// ways are those to one upstream: one for each front.
func (u *upstreams) ways(e upstreamEnv, i int) ([]upstream.Way, error) {
	o, profile := &u.made.options[i], u.made.profiles[i]
	link, err := readLink(u.made.links[i])
	if err != nil {
		return nil, err
	}
	for _, name := range link.Unknown {
		e.log.Debug("a parameter of the link means nothing here", "upstream", i+1, "parameter", name)
	}
	fronts := o.Front
	if len(fronts) == 0 {
		fronts = []web.Front{{}}
	}
	sessions := new(browser.Sessions)
	var out []upstream.Way
	for j := range fronts {
		f := &fronts[j]
		way, err := f.Way(webLink(link))
		if err != nil {
			return nil, err
		}
		names := u.resolver(e, profile, f)
		client := web.NewClient(web.ClientOptions{
			Way: way, Profile: profile, Sessions: sessions, Names: names, Log: e.log,
			Connect: func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
				if e.own(to) {
					return nil, errors.New("the upstream's address is one of this relay itself")
				}
				return web.DialTCP(ctx, to)
			},
		})
		d := &vless.Dialer{UUID: link.UUID, Carrier: client, Pad: drawPad}
		if way.Version == web.HTTP1 && ofRelay(link) && (way.Mode == web.ModeWebSocket || drawnPath(link.Path)) {
			d.Mux, d.Shape, d.Alone = muxSockets, true, client.Limited
			d.Asks = way.Mode != web.ModeWebSocket // these have pings
		}
		out = append(out, upstream.Way{
			Name: wayName(o, i, way, j, len(fronts)), Key: wayKey(link, way), Dialer: d,
			Ready: client.Ready, Live: client.Live,
			Close: func() { _ = d.Close(); client.Close() },
			Ask:   func(ctx context.Context) error { return askUser(ctx, link.UUID, client) }, Probe: o.Probe,
		})
	}
	return out, nil
}

// askUser finds out whether the relay at the end of a way knows the user, as relay try
// does.
func askUser(ctx context.Context, uuid [16]byte, way vless.Carrier) error {
	d := &vless.Dialer{UUID: uuid, Carrier: way, Mux: 1, Pad: drawPad}
	defer d.Close()
	err := d.Ask(ctx)
	if err == nil {
		return nil
	}
	f := web.Refusal(ctx, err)
	if f.Cause == web.CauseUser {
		return fmt.Errorf("%w of this link: it was removed or replaced; ask for a new one", upstream.ErrUser)
	}
	return f
}

// wayName is for people.
func wayName(o *upstreamOptions, i int, w web.Way, front, fronts int) string {
	name := o.Name
	if name == "" {
		name = "upstream " + strconv.Itoa(i+1)
	}
	kind := "XHTTP " + w.Mode
	if w.Mode == web.ModeWebSocket {
		kind = "WebSocket"
	} else if w.Version == web.HTTP1 {
		kind += ", HTTP/1.1"
	}
	if fronts > 1 {
		kind += ", front " + strconv.Itoa(front+1)
	}
	return name + " (" + kind + ")"
}

// wayKey tells ways apart in what is remembered.
func wayKey(l *vless.Link, w web.Way) string {
	mode := w.Mode
	if mode != web.ModeWebSocket && w.Version == web.HTTP1 {
		mode += " " + w.Version
	}
	return fmt.Sprintf("%x %v %s %s %s %d", l.UUID, w.Connect, w.SNI, w.Authority, mode, w.ECH.Mode)
}
