package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

const (
	xrayModule = "github.com/xtls/xray-core"
	xrayFolder = "../interop/xray" // whose go.mod names the version
	xrayUser   = "6f8c2f0e-21cf-4a68-9d0b-5b0a2d0e7c11"
)

// relayWeb has its default settings as relay has, a site for strangers, and one
// user, of whose links the load takes the named one.
func relayWeb(link string) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		cover, err := siteCover(p)
		if err != nil {
			return nil, err
		}
		certificate, err := writeCertificate(p.folder)
		if err != nil {
			return nil, err
		}
		cover = strings.Replace(cover, `certificate = "self-signed"`,
			fmt.Sprintf("certificate = { cert = %q, key = %q }", filepath.Join(p.folder, "cert.pem"), filepath.Join(p.folder, "key.pem")), 1)
		// Nobody vouches for the certificate; links of files carry no pin.
		return relayLinked(p, `inbounds = ["web"]`, cover, link, fmt.Sprintf("&pcs=%x", sha256.Sum256(certificate)))
	}
}

// relayOrigin is the same without TLS, as a CDN meets it.
func relayOrigin(p place) ([]string, error) {
	cover, err := siteCover(p)
	if err != nil {
		return nil, err
	}
	return relayLinked(p, "inbounds = [\"web\"]\norigin = true\npublic = [\"127.0.0.1\"]", cover, "vless-ws", "")
}

// relayLinked has one user, and leaves his link for the load with more behind it; with
// nothing more it is one without TLS.
func relayLinked(p place, listen, cover, link, more string) ([]string, error) {
	arguments, err := relayConfigured(p, listen, "\n[cover]\n"+cover)
	if err != nil {
		return nil, err
	}
	record, err := addUser(p, arguments[len(arguments)-1])
	if err != nil {
		return nil, err
	}
	var user struct {
		Links map[string][]string `json:"links"`
	}
	if err := json.Unmarshal(record, &user); err != nil {
		return nil, fmt.Errorf("relay user add: %w", err)
	}
	if len(user.Links[link]) == 0 {
		return nil, errors.New("relay user add: want a link " + link)
	}
	way, _, _ := strings.Cut(user.Links[link][0], "#")
	if more == "" {
		way = strings.Replace(way, "security=tls", "security=none", 1)
	}
	if _, err := p.write(linkFile, way+more); err != nil {
		return nil, err
	}
	return arguments, inheritOwner(p.folder)
}

// xray has its default settings, less the log, which is one line for each stream
// by default; the relay writes one too.
func xray(transport string) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		certificate, err := writeCertificate(p.folder)
		if err != nil {
			return nil, err
		}
		link := fmt.Sprintf("vless://%s@127.0.0.1:%d?type=%s&security=tls&sni=%s&path=/in&pcs=%x", xrayUser, p.port, transport, siteName, sha256.Sum256(certificate))
		if _, err := p.write(linkFile, link); err != nil {
			return nil, err
		}
		type object = map[string]any
		config, err := json.Marshal(object{
			"log": object{"loglevel": "warning"},
			"inbounds": []object{{
				"listen": "127.0.0.1", "port": p.port, "protocol": "vless",
				"settings": object{"decryption": "none", "clients": []object{{"id": xrayUser}}},
				"streamSettings": object{
					"network": transport, transport + "Settings": object{"path": "/in"}, "security": "tls",
					"tlsSettings": object{"alpn": []string{"h2", "http/1.1"}, "certificates": []object{{
						"certificateFile": filepath.Join(p.folder, "cert.pem"), "keyFile": filepath.Join(p.folder, "key.pem"),
					}}},
				},
			}},
			"outbounds": []object{{"protocol": "freedom"}},
		})
		if err != nil {
			return nil, err
		}
		path, err := p.write("xray.json", string(config))
		return []string{p.program, "run", "-c", path}, errors.Join(err, inheritOwner(p.folder))
	}
}
