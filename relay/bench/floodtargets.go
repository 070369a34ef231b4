package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// floodTarget is a server to flood.
type floodTarget struct {
	name  string
	cover string   // of a relay: "site" or "forward"; empty: nginx alone
	from  pageFrom // of nginx
	page  bool     // of a relay: who comes beside the flood is a stranger himself, and gets the site's page
}

var floodTargets = []floodTarget{
	{name: "site", cover: "site"}, {name: "forward", cover: "forward"}, {name: "nginx-proxy", from: pageProxy},
	{name: "nginx-stream", from: pageStream},
	{name: "site-page", cover: "site", page: true}, {name: "nginx"},
}

func floodTargetNames() []string {
	var names []string
	for _, t := range floodTargets {
		names = append(names, t.name)
	}
	return names
}

// flooded is a running target.
type flooded struct {
	main *child // whose memory and time are measured
	more []*child
	port int
}

func (f *flooded) stop() {
	for _, c := range append([]*child{f.main}, f.more...) {
		if c != nil {
			c.stop()
		}
	}
}

// start starts a target and returns what a user's request to it is.
func (f *flooding) start(ctx context.Context, t floodTarget) (*flooded, floodRequest, error) {
	s := new(flooded)
	err := f.startServers(ctx, t, s)
	var request floodRequest
	if err == nil {
		request, err = f.request(ctx, t, s)
	}
	if err != nil {
		s.stop()
		return nil, nil, err
	}
	return s, request, nil
}

func (f *flooding) startServers(ctx context.Context, t floodTarget, s *flooded) error {
	if t.cover != "site" {
		front, behind, port, err := f.startNginx(ctx, t.from)
		if err != nil {
			return err
		}
		if s.main, s.port = front, port; behind != nil {
			s.more = append(s.more, behind)
		}
	}
	if t.cover == "" {
		return nil
	}
	cover := fmt.Sprintf("name = %q\nforward = \"127.0.0.1:%d\"\n", siteName, s.port)
	folder, err := f.folder()
	if err != nil {
		return err
	}
	if t.cover == "site" {
		if err := os.WriteFile(filepath.Join(folder, "index.html"), []byte("hi\n"), 0o644); err != nil {
			return err
		}
		cover = fmt.Sprintf("name = %q\nsite = %q\ncertificate = \"self-signed\"\n", siteName, folder)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	relay, err := f.startRelay(port, cover)
	if err != nil {
		return err
	}
	if s.main != nil {
		s.more = append(s.more, s.main)
	}
	s.main, s.port = relay, port
	return nil
}

// startRelay starts a relay with all limits as they are by default.
func (f *flooding) startRelay(port int, cover string) (*child, error) {
	folder, err := f.folder()
	if err != nil {
		return nil, err
	}
	p := place{program: filepath.Join(f.work, "relay"), folder: folder, port: port, ports: f.at}
	config, err := p.write("relay.toml", fmt.Sprintf(`state = %q

[[listen]]
address  = "127.0.0.1:%d"
inbounds = ["mtproto"]

[egress]
allow = ["127.0.0.0/8"]

[limits]
drain_timeout = "1s"
%s`, filepath.Join(folder, "state"), port, mtprotoTables(p, cover)))
	if err != nil {
		return nil, err
	}
	if err := addTelegramUser(p, config); err != nil {
		return nil, err
	}
	return startChild([]string{p.program, "serve", "--config", config}, filepath.Join(folder, "output"), nil)
}

// request returns what a user does: a handshake, and through a relay a message to the
// data centre and back; or the site's page.
func (f *flooding) request(ctx context.Context, t floodTarget, s *flooded) (floodRequest, error) {
	if t.cover == "" || t.page {
		request := pageRequest(s.port, true)
		return request, s.main.waitAnswer(ctx, warmed(request))
	}
	l := &load{protocol: protocolMTProto, proxy: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.port}}
	l.sinks = []*net.TCPAddr{{IP: sinkIP(0), Port: f.at.sink}}
	var err error
	if l.secret, err = readSecret(filepath.Dir(s.main.output)); err != nil {
		return nil, err
	}
	request := func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		c, err := l.dial(ctx)
		shaken := time.Since(start)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		_, err = begin(c, wantExchange, shortMessage)
		return shaken, err
	}
	return request, s.main.waitAnswer(ctx, warmed(request))
}
