package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// vlessLink is a share link for VLESS over XHTTP or WebSocket.
type vlessLink struct {
	id   [16]byte
	name string // of the server, and host of requests
	path string
	pin  [32]byte // SHA-256 of the certificate
	bare bool     // no TLS, as from a CDN to its origin
}

func parseVLESSLink(text string) (vlessLink, error) {
	var l vlessLink
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Scheme != "vless" || u.Port() == "" {
		return l, errors.New("link: want vless://UUID@HOST:PORT?…")
	}
	q := u.Query()
	l.name = q.Get("sni")
	l.path, _, _ = strings.Cut(q.Get("path"), "?") // early data is the client's to send or not
	id, err := hex.DecodeString(strings.ReplaceAll(u.User.Username(), "-", ""))
	pin, pinErr := hex.DecodeString(strings.ReplaceAll(q.Get("pcs"), ":", ""))
	if l.bare = q.Get("security") == "none"; l.bare {
		pin = l.pin[:]
	}
	if errors.Join(err, pinErr) != nil || len(id) != len(l.id) || len(pin) != len(l.pin) || !l.bare && q.Get("security") != "tls" {
		return l, errors.New("link: want a UUID, security=tls and pcs=SHA-256 of the certificate, or security=none")
	}
	l.id, l.pin = [16]byte(id), [32]byte(pin)
	return l, nil
}

// parseShared returns the parameters of a share link, and the user's id as "user".
func parseShared(text string) (url.Values, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Scheme != "vless" {
		return nil, errors.New("link: want vless://UUID@HOST:PORT?…")
	}
	q := u.Query()
	q.Set("user", u.User.Username())
	return q, nil
}

// linkFile is where a peer's start leaves the user's link for the load.
const linkFile = "link"

func readVLESSLink(folder string) (vlessLink, error) {
	b, err := os.ReadFile(filepath.Join(folder, linkFile))
	if err != nil {
		return vlessLink{}, err
	}
	return parseVLESSLink(string(b))
}

// tls wants the certificate of the link, and one protocol inside.
func (l vlessLink) tls(protocol string) *tls.Config {
	return &tls.Config{
		ServerName: l.name, NextProtos: []string{protocol},
		InsecureSkipVerify: true, // the pin says more than a chain
		VerifyPeerCertificate: func(certificates [][]byte, _ [][]*x509.Certificate) error {
			if len(certificates) == 0 || sha256.Sum256(certificates[0]) != l.pin {
				return errors.New("certificate: want the one of the link")
			}
			return nil
		},
	}
}

// request is what VLESS begins a stream with: version 0, the user, no addons,
// command 1, and the target.
func (l vlessLink) request(target *net.TCPAddr) []byte {
	b := append([]byte{0}, l.id[:]...)
	b = append(b, 0, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(target.Port))
	return append(append(b, 1), target.IP.To4()...)
}

// vlessHead is the version and the length of addons, of which no server sends any.
type vlessHead struct{ left int }

const vlessHeadSize = 2

// strip takes the head off what was read.
func (h *vlessHead) strip(b []byte) ([]byte, error) {
	for h.left > 0 && len(b) > 0 {
		if b[0] != 0 {
			return nil, fmt.Errorf("vless: got %#x in the answer's head, want version 0 and no addons", b[0])
		}
		h.left--
		b = b[1:]
	}
	return b, nil
}

// streamHeaders are what Xray's client sends with every request of its own, as
// Chrome does with a fetch. A server pays for reading them.
var streamHeaders = map[string]string{
	"User-Agent":    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36",
	"Sec-CH-UA":     `"Google Chrome";v="144", "Chromium";v="144", "Not(A:Brand";v="24"`,
	"Accept":        "*/*",
	"Cache-Control": "no-cache",
	"Pragma":        "no-cache",
	"Priority":      "u=1, i",
	// What a fetch has beside a navigation.
	"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin",
}

// Paddings of a request, which XHTTP hides in the query of a Referer.
const (
	paddingLeast = 100
	paddingMost  = 1000
)

// headers are those of one request for link.
func (l vlessLink) headers(link string) http.Header {
	h := make(http.Header, len(streamHeaders)+1)
	for key, value := range streamHeaders {
		h[http.CanonicalHeaderKey(key)] = []string{value}
	}
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	n := paddingLeast + int(binary.BigEndian.Uint16(b[:]))%(paddingMost-paddingLeast+1)
	h["Referer"] = []string{link + "?x_padding=" + strings.Repeat("X", n)}
	return h
}
