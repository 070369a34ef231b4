package interop

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	_ "embed"
	"encoding/base64"
	"fmt"
	"image"
	"image/color/palette"
	"image/gif"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/cover.html
var coverPage []byte

// TestChromiumCover visits the MTProto port with a browser, which has no secret:
// it loads the page of the cover, with its parts, over HTTP/2.
func TestChromiumCover(t *testing.T) {
	integration(t)
	c := newCover(t)
	var dot bytes.Buffer
	if err := gif.Encode(&dot, image.NewPaletted(image.Rect(0, 0, 3, 2), palette.Plan9), nil); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"index.html": coverPage, "style.css": []byte("#seen { color: rgb(1, 2, 3) }\n"), "dot.gif": dot.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, cover := range []struct{ name, config string }{
		{"site", fmt.Sprintf("site = %q\ncertificate = \"self-signed\"", c.dir)},
		{"forward", fmt.Sprintf("forward = %q", c.nginx(t))},
	} {
		t.Run(cover.name, func(t *testing.T) {
			at, _ := covered(t, cover.config)
			res := chromium(t, "https://"+coverName+"/",
				"--no-proxy-server",
				"--host-resolver-rules=MAP "+coverName+":443 "+at+", MAP * ~NOTFOUND",
				"--ignore-certificate-errors-spki-list="+keyPin(t, at))
			const want = `<p id="seen">3x2 rgb(1, 2, 3) h2 h2 h2</p>`
			if res.code != 0 || !strings.Contains(res.stdout, want) {
				t.Errorf("got exit %d and\n%s\nwant exit 0 and %s\n%s", res.code, res.stdout, want, res.stderr)
			}
		})
	}
}

// keyPin is how Chromium names the key of the certificate at addr.
func keyPin(t *testing.T, addr string) string {
	t.Helper()
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		Config:    &tls.Config{ServerName: coverName, InsecureSkipVerify: true},
	}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.Sum256(c.(*tls.Conn).ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
