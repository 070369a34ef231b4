package interop

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pinOf is the pin of the first certificate in a file.
func pinOf(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s: got no PEM, want a certificate", file)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return certificatePin(block.Bytes)
}

// webRelay is the relay with a web transport, by the links that it prints. With
// origin it also has a listener for plain HTTP behind somebody else's TLS.
func webRelay(t *testing.T, origin bool) *vlessServer {
	t.Helper()
	state, site := t.TempDir(), newCover(t).dir
	listeners := "[[listen]]\naddress = \"127.0.0.1:0\"\ninbounds = [\"web\"]\n"
	plain := freePort(t)
	if origin {
		listeners += fmt.Sprintf("[[listen]]\naddress = %q\ninbounds = [\"web\"]\norigin = true\n", plain)
	}
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := fmt.Sprintf("state = %q\n%s[cover]\nname = %q\nsite = %q\ncertificate = \"self-signed\"\n[web]\n[egress]\nallow = [\"127.0.0.0/8\"]\n",
		state, listeners, coverName, site)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	check := runProgram(t, 20*time.Second, nil, relayBin, "check", file)
	if check.code != 0 {
		t.Fatalf("relay check: got exit code %d, want 0\n%s", check.code, check.stdout+check.stderr)
	}
	start(t, []string{"web"}, "serve", "--config", file)
	alice := userCommand(t, "add", "alice", state)
	s := &vlessServer{name: "relay", links: map[string]shareLink{}, down: vlessDown, up: vlessUp, silent: vlessSilent}
	for _, transport := range []string{"xhttp", "ws"} {
		links := alice.Links["vless-"+transport]
		if len(links) == 0 {
			t.Fatalf("links of alice: got %q, want one for vless-%s", alice.Links, transport)
		}
		l, err := parseShareLink(links[0])
		if err != nil {
			t.Fatalf("vless-%s: %v", transport, err)
		}
		if origin {
			l.host, l.port, _ = strings.Cut(plain, ":")
		}
		s.links[transport] = l
	}
	s.revoke = func(t *testing.T) { userCommand(t, "disable", "alice", state) }
	return s
}
