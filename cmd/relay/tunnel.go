package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"relay/relay/config"
)

// tunnelName is the name of the site of a tunnel's exit, which no DNS knows.
const tunnelName = "tunnel.example"

const tunnelPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Welcome</title>
<h1>Welcome</h1>
<p>Whoever comes here without a link sees this page.</p>
</html>
`

// startExit starts the exit of a tunnel beside an entry with the configuration cfg: a
// web site on a loopback address, whose certificate it signs itself. It returns the
// link to it.
func startExit(entry *config.Config, log *slog.Logger) (in *instance, link string, err error) {
	cfg := config.Default()
	cfg.State = filepath.Join(entry.State, "exit")
	cfg.Egress = entry.Egress
	site := filepath.Join(cfg.State, "site")
	if err := os.MkdirAll(site, 0o700); err != nil {
		return nil, "", fmt.Errorf("state folder: %w", err)
	}
	if err := writeFile(filepath.Join(site, "index.html"), []byte(tunnelPage)); err != nil {
		return nil, "", fmt.Errorf("state folder: %w", err)
	}
	cfg.Cover.Name, cfg.Cover.Site = tunnelName, site
	cfg.Cover.Certificate.Word = "self-signed"
	cfg.Listen = []config.Listen{{Address: "127.0.0.1:0", Inbounds: []string{"web"}}}
	in, err = start(cfg, tables(), log.With("relay", "exit"), nil)
	if err != nil {
		return nil, "", fmt.Errorf("exit: %w", err)
	}
	r, err := firstUser(in.users)
	if err != nil {
		in.release()
		return nil, "", fmt.Errorf("exit: %w", err)
	}
	for _, l := range in.links(r) {
		if l.Protocol == "vless-xhttp" {
			return in, l.URL, nil
		}
	}
	in.release()
	return nil, "", errors.New("exit: it has no link")
}
