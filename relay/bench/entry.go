package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// upstreamCommand measures the peers that send what comes by SOCKS5 on to an exit,
// inside of visits to its web site. The exit is a relay for all of them.
const upstreamCommand = "upstream"

// entryPrefix begins the protocols of these peers, which differ by how they speak with
// the exit; the load speaks SOCKS5.
const entryPrefix = "socks5 by "

// Ways to the exit: XHTTP's modes, and WebSocket.
const (
	entryStreamOne = entryPrefix + "stream-one"
	entryPacketUp  = entryPrefix + "packet-up"
	entryWebSocket = entryPrefix + "websocket"
)

func isEntry(protocol string) bool { return strings.HasPrefix(protocol, entryPrefix) }

// exitFolder is in the folder of an entry.
const exitFolder = "exit"

// startExit runs a relay with a web site behind an entry that is to be started, whose
// place it completes. The caller stops it.
func (s *suite) startExit(protocol string, p *place) (*child, error) {
	program := filepath.Join(s.work, "relay")
	folder := filepath.Join(p.folder, exitFolder)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	if err := inheritOwner(p.folder); err != nil {
		return nil, err
	}
	at := s.place(program, folder, p.port)
	link := "vless-xhttp"
	if protocol == entryWebSocket {
		link = "vless-ws"
	}
	arguments, err := relayWeb(link)(at)
	if err != nil {
		return nil, fmt.Errorf("configure the exit: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(folder, linkFile))
	if err != nil {
		return nil, err
	}
	p.link, p.mode = string(b), strings.TrimPrefix(protocol, entryPrefix)
	p.exit = at.port
	c, err := startChild(arguments, filepath.Join(folder, "output"), s.settings.as)
	if err != nil {
		return nil, err
	}
	if err := waitListener(at.port); err != nil {
		c.stop()
		return nil, fmt.Errorf("exit: %w; its output: %s", err, c.lastOutput())
	}
	p.port, err = freePort()
	return c, err
}

// waitListener waits until somebody listens on a port.
func waitListener(port int) error {
	for end := time.Now().Add(readyLimit); ; time.Sleep(firstEach) {
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// relayEntry has its default settings as relay has, and one upstream.
func relayEntry(p place) ([]string, error) {
	if p.link == "" {
		return nil, nil // only asked whether it can be measured
	}
	link, err := p.write("entry.link", p.link)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(link, 0o600); err != nil {
		return nil, err
	}
	more := fmt.Sprintf("\n[[upstream]]\nlink_file = %q\n\n[[upstream.front]]\nmode = %q\n", link, p.mode)
	arguments, err := relay(p, "socks5", more)
	return arguments, errors.Join(err, inheritOwner(p.folder))
}

// xrayEntry is what v2rayNG makes of the link, with a SOCKS5 port: uTLS with Chrome's
// hello, three connections for XHTTP as the link asks.
func xrayEntry(p place) ([]string, error) {
	if p.link == "" {
		return nil, nil
	}
	l, err := parseShared(p.link)
	if err != nil {
		return nil, err
	}
	type object = map[string]any
	stream := object{"security": "tls", "tlsSettings": object{
		"serverName": l.Get("sni"), "fingerprint": l.Get("fp"), "alpn": []string{l.Get("alpn")}, "pinnedPeerCertSha256": l.Get("pcs"),
	}}
	settings := object{"path": l.Get("path"), "host": l.Get("host")}
	if p.mode == "websocket" {
		stream["network"], stream["wsSettings"] = "ws", settings
	} else {
		settings["mode"], settings["extra"] = p.mode, json.RawMessage(l.Get("extra"))
		stream["network"], stream["xhttpSettings"] = "xhttp", settings
	}
	config, err := json.Marshal(object{
		"log":      object{"loglevel": "warning"},
		"inbounds": []object{{"listen": "127.0.0.1", "port": p.port, "protocol": "socks", "settings": object{"udp": false}}},
		"outbounds": []object{{
			"protocol": "vless", "streamSettings": stream,
			"settings": object{"vnext": []object{{
				"address": "127.0.0.1", "port": p.exit, "users": []object{{"id": l.Get("user"), "encryption": "none"}},
			}}},
		}},
	})
	if err != nil {
		return nil, err
	}
	path, err := p.write("xray.json", string(config))
	return []string{p.program, "run", "-c", path}, errors.Join(err, inheritOwner(p.folder))
}
