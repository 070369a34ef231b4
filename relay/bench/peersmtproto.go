package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	mtgModule = "github.com/9seconds/mtg/v2"
	// siteName is the server name in secrets, and of the site that strangers see.
	siteName = "www.example.org"
	// secretFile is where a peer's start leaves the user's secret for the load.
	secretFile = "secret"
)

// relayMTProto has its default settings as relay has, a site for strangers, and
// one user.
func relayMTProto(p place) ([]string, error) {
	cover, err := siteCover(p)
	if err != nil {
		return nil, err
	}
	arguments, err := relayConfigured(p, `inbounds = ["mtproto"]`, mtprotoTables(p, cover))
	if err != nil {
		return nil, err
	}
	return arguments, addTelegramUser(p, arguments[len(arguments)-1])
}

// siteCover is the table of a cover in the process, with one page.
func siteCover(p place) (string, error) {
	site := filepath.Join(p.folder, "site")
	if err := os.MkdirAll(site, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte("hi\n"), 0o644); err != nil {
		return "", err
	}
	return fmt.Sprintf("name = %q\nsite = %q\ncertificate = \"self-signed\"\n", siteName, site), nil
}

// mtprotoTables are the tables of a relay that serves MTProto.
func mtprotoTables(p place, cover string) string {
	return fmt.Sprintf("\n[cover]\n%s\n[mtproto]\nnames = [%q]\ndcs = { \"%d\" = [\"127.0.0.1:%d\"] }\n", cover, siteName, loadDC, p.sink)
}

// addUser makes a user of the relay with that configuration and returns what it
// prints.
func addUser(p place, config string) ([]byte, error) {
	out, err := exec.Command(p.program, "user", "add", "load", "--config", config, "--json").Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("relay user add: %w", err)
	}
	return out, nil
}

// addTelegramUser makes a user and keeps the secret.
func addTelegramUser(p place, config string) error {
	out, err := addUser(p, config)
	if err != nil {
		return err
	}
	secret, err := linkSecret(out)
	if err != nil {
		return err
	}
	if _, err := p.write(secretFile, secret); err != nil {
		return err
	}
	return inheritOwner(p.folder)
}

// linkSecret takes the secret out of what relay user add prints.
func linkSecret(record []byte) (string, error) {
	var user struct {
		Links map[string][]string `json:"links"`
	}
	if err := json.Unmarshal(record, &user); err != nil {
		return "", fmt.Errorf("relay user add: %w", err)
	}
	for _, text := range user.Links["mtproto-ee"] {
		if link, err := url.Parse(text); err == nil && link.Query().Has("secret") {
			return link.Query().Get("secret"), nil
		}
	}
	return "", errors.New("relay user add: want a link mtproto-ee with a secret")
}

// readSecret is what the peer's start has left.
func readSecret(folder string) (fakeSecret, error) {
	b, err := os.ReadFile(filepath.Join(folder, secretFile))
	if err != nil {
		return fakeSecret{}, err
	}
	return parseSecret(strings.TrimSpace(string(b)))
}

// mtg has its default settings, but for what would leave this machine: it goes
// to data centres through a SOCKS5 server, which is the sink, and it looks for
// the site of strangers on loopback.
func mtg(p place) ([]string, error) {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	secret := "ee" + hex.EncodeToString(append(key[:], siteName...))
	if _, err := p.write(secretFile, secret); err != nil {
		return nil, err
	}
	path, err := p.write("mtg.toml", fmt.Sprintf(`secret = %q
bind-to = "127.0.0.1:%d"
concurrency = %d
prefer-ip = "only-ipv4"
auto-update = false

[domain-fronting]
ip = "127.0.0.1"
port = %d

[network]
proxies = ["socks5://127.0.0.1:%d"]

[defense.anti-replay]
enabled = true

[defense.blocklist]
enabled = false
`, secret, p.port, p.descriptors, p.site, p.dc))
	return []string{p.program, "run", path}, err
}
