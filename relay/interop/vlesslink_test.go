package interop

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shareLink is a vless:// link as v2rayNG reads it (V2rayNG, fmt/VlessFmt.kt and
// FmtBase.kt): keys that it does not know are nothing to it.
type shareLink struct {
	id, host, port string
	query          map[string]string
}

// parseShareLink is as simple about the query as v2rayNG: a value ends at a "="
// that is not escaped, and a piece without one is an error.
func parseShareLink(text string) (shareLink, error) {
	u, err := url.Parse(text)
	if err != nil {
		return shareLink{}, err
	}
	l := shareLink{id: u.User.Username(), host: u.Hostname(), port: u.Port(), query: map[string]string{}}
	if u.Scheme != "vless" || l.id == "" || l.host == "" || l.port == "" {
		return l, fmt.Errorf("link: got scheme %q, host %q and port %q, want vless, a user id, a host and a port", u.Scheme, l.host, l.port)
	}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		parts := strings.Split(pair, "=")
		if len(parts) < 2 {
			return l, fmt.Errorf("link: got %q in the query, want KEY=VALUE", pair)
		}
		if l.query[parts[0]], err = url.QueryUnescape(parts[1]); err != nil {
			return l, err
		}
	}
	return l, nil
}

// with is the link with other values in its query; an empty one is none.
func (l shareLink) with(changes map[string]string) shareLink {
	l.query = maps.Clone(l.query)
	for key, value := range changes {
		if key == "ed" { // a part of the path, of which there is one link only
			path, _, _ := strings.Cut(l.query["path"], "?")
			if value != "" {
				path += "?ed=" + value
			}
			key, value = "path", path
		}
		l.query[key] = value
	}
	return l
}

// name is the server name: v2rayNG takes the host, then the address, where a
// link has none.
func (l shareLink) name() string {
	for _, key := range []string{"sni", "host"} {
		if l.query[key] != "" {
			return l.query[key]
		}
	}
	return l.host
}

// list is a value with commas, without empty parts.
func (l shareLink) list(key string) []string {
	return strings.FieldsFunc(l.query[key], func(r rune) bool { return r == ',' })
}

// object is a part of a program's configuration. Its empty values are left out.
type object map[string]any

func (o object) MarshalJSON() ([]byte, error) {
	kept := map[string]any{}
	for key, value := range o {
		if s, ok := value.([]string); value != nil && value != "" && (!ok || len(s) > 0) {
			kept[key] = value
		}
	}
	return json.Marshal(kept)
}

// xrayOutbound is what v2rayNG makes of the link for Xray.
func (l shareLink) xrayOutbound(mux int) (object, error) {
	port, err := strconv.Atoi(l.port)
	if err != nil {
		return nil, err
	}
	q := l.query
	stream := object{"network": q["type"], "security": q["security"]}
	settings := object{"path": q["path"], "host": q["host"]}
	switch q["type"] {
	case "xhttp":
		settings["mode"] = q["mode"]
		if q["extra"] != "" {
			settings["extra"] = json.RawMessage(q["extra"])
		}
		stream["xhttpSettings"] = settings
	case "ws":
		stream["wsSettings"] = settings
	default:
		return nil, fmt.Errorf("link: got type %q, want xhttp or ws", q["type"])
	}
	if q["security"] == "tls" {
		stream["tlsSettings"] = object{
			"serverName": l.name(), "alpn": l.list("alpn"), "fingerprint": q["fp"], "pinnedPeerCertSha256": q["pcs"],
		}
	}
	out := object{
		"protocol": "vless",
		"settings": object{"vnext": []object{{
			"address": l.host, "port": port,
			"users": []object{{"id": l.id, "encryption": "none", "flow": q["flow"]}},
		}}},
		"streamSettings": stream,
	}
	if mux > 0 {
		out["mux"] = object{"enabled": true, "concurrency": mux}
	}
	return out, nil
}

// singOutbound is the same for sing-box, which knows no XHTTP, and pins keys
// where Xray pins certificates.
func (l shareLink) singOutbound(packets string) (map[string]any, error) {
	port, err := strconv.Atoi(l.port)
	if err != nil {
		return nil, err
	}
	if l.query["type"] != "ws" {
		return nil, fmt.Errorf("link: got type %q, want ws for sing-box", l.query["type"])
	}
	path, query, _ := strings.Cut(l.query["path"], "?")
	carrier := object{"type": "ws", "path": path}
	if host := l.query["host"]; host != "" {
		carrier["headers"] = object{"Host": host}
	}
	if early, ok := strings.CutPrefix(query, "ed="); ok {
		if carrier["max_early_data"], err = strconv.Atoi(early); err != nil {
			return nil, err
		}
		carrier["early_data_header_name"] = "Sec-WebSocket-Protocol"
	}
	out := map[string]any{ // no object: an empty packet_encoding is not the default
		"type": "vless", "server": l.host, "server_port": port, "uuid": l.id, "packet_encoding": packets, "transport": carrier,
	}
	if l.query["security"] == "tls" {
		pin, err := l.keyPin()
		if err != nil {
			return nil, err
		}
		layer := object{"enabled": true, "server_name": l.name(), "alpn": l.list("alpn"), "certificate_public_key_sha256": []string{pin}}
		if l.query["fp"] != "" {
			layer["utls"] = object{"enabled": true, "fingerprint": l.query["fp"]}
		}
		out["tls"] = layer
	}
	return out, nil
}

// keyPin is the hash of the key in the certificate that the link pins.
func (l shareLink) keyPin() (string, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{ServerName: l.name(), InsecureSkipVerify: true}}
	c, err := d.Dial("tcp", net.JoinHostPort(l.host, l.port))
	if err != nil {
		return "", err
	}
	defer c.Close()
	leaf := c.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if got := certificatePin(leaf.Raw); got != strings.ToLower(strings.ReplaceAll(l.query["pcs"], ":", "")) {
		return "", fmt.Errorf("certificate: got %s, want the one of pcs=%s", got, l.query["pcs"])
	}
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(key[:]), nil
}

// certificatePin is how Xray names a certificate: the hash of all of it.
func certificatePin(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:])
}

func TestShareLink(t *testing.T) {
	const id = "0f5ed2bb-6a4c-4b8e-9d61-1f4b6c1a2b3c"
	for _, c := range []struct{ name, link, key, want string }{
		{"escaped", "vless://" + id + "@127.0.0.1:443?type=ws&path=%2Fa%3Fed%3D2048#x", "path", "/a?ed=2048"},
		{"cut where v2rayNG cuts", "vless://" + id + "@127.0.0.1:443?type=ws&path=/a?ed=2048#x", "path", "/a?ed"},
		{"plus is a space", "vless://" + id + "@127.0.0.1:443?extra=%7B%7D+", "extra", "{} "},
		{"IPv6", "vless://" + id + "@[::1]:443?type=xhttp", "type", "xhttp"},
	} {
		l, err := parseShareLink(c.link)
		if err != nil || l.query[c.key] != c.want || l.id != id || l.port != "443" {
			t.Errorf("%s: got %+v, %v; want %s=%q", c.name, l, err, c.key, c.want)
		}
	}
	for _, bad := range []string{"vmess://" + id + "@127.0.0.1:443?type=ws", "vless://127.0.0.1:443?type=ws", "vless://" + id + "@127.0.0.1?type=ws", "vless://" + id + "@127.0.0.1:443?type"} {
		if l, err := parseShareLink(bad); err == nil {
			t.Errorf("%s: got %+v, want an error", bad, l)
		}
	}
}
