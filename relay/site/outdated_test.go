package site

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutdated(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name        string
		begins, end time.Duration
		want        string
	}{
		{"fresh", -day, 89 * day, ""},
		{"a month left", -60 * day, 30 * day, ""},
		{"expired", -91 * day, -day, "has expired on 2026-02-28 (UTC)"},
		{"not yet", time.Hour, 90 * day, "is not valid before 2026-03-01 13:00:00 (UTC)"},
		{"ends within a week", -84 * day, 6 * day, "ends on 2026-03-07 (UTC)"},
		{"for six days", -3 * day, 3 * day, ""},
		{"for six days, the last one", -5 * day, day, "ends on 2026-03-02 (UTC)"},
	} {
		got := Outdated(&x509.Certificate{NotBefore: now.Add(tt.begins), NotAfter: now.Add(tt.end)}, now)
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A site says at its start and once a day that its certificate is of no use, and is
// quiet when the files have a new one.
func TestOutdatedIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		pair := writePair(t, t.TempDir(), siteName)
		f, err := openFiles([]string{siteName}, []CertificateFiles{pair}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		lines := func(after time.Duration, want int, text string) {
			t.Helper()
			time.Sleep(after)
			f.look()
			if got := strings.Count(log.String(), "level=WARN"); got != want || !strings.Contains(log.String(), text) {
				t.Errorf("got %d warnings in %q, want %d with %q", got, log.String(), want, text)
			}
		}
		lines(80*24*time.Hour, 0, "")
		lines(9*24*time.Hour, 1, "the site's certificate ends on ")
		lines(time.Hour, 1, "")
		lines(2*24*time.Hour, 2, "the site's certificate has expired on ")
		if f, err = openFiles([]string{siteName}, []CertificateFiles{pair}, f.log); err != nil {
			t.Fatal(err)
		}
		lines(0, 3, "names="+siteName)
		writePair(t, filepath.Dir(pair.Cert), siteName)
		lines(lookInterval, 3, "")
		lines(2*24*time.Hour, 3, "")
	})
}

func TestUncovered(t *testing.T) {
	dir := t.TempDir()
	pair := writePair(t, dir, "*.example.org", otherName)
	chains, err := Chains([]CertificateFiles{pair})
	if err != nil {
		t.Fatalf("Chains: got %v, want nil", err)
	}
	got := Uncovered([]string{siteName, "example.org", otherName, "a.b.example.org"}, chains)
	if want := []string{"example.org", "a.b.example.org"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, file := range []string{pair.Key, filepath.Join(dir, "none"), filepath.Join(dir, "empty")} {
		if file == filepath.Join(dir, "empty") {
			_ = os.WriteFile(file, nil, 0o600)
		}
		if _, err := Chains([]CertificateFiles{{Cert: file}}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want an error that names it", file, err)
		}
	}
	// The key may stand before the certificate, in one file.
	key, err := os.ReadFile(pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(pair.Cert)
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(dir, "both.pem")
	if err := os.WriteFile(both, append(key, cert...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Chains([]CertificateFiles{{both, both}}); err != nil || len(got) != 1 || !got[0][0].Equal(chains[0][0]) {
		t.Errorf("in one file: got %v, %v, want the certificate", got, err)
	}
	// What crypto/tls sends behind the first without a look at it spoils nothing.
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})
	if err := os.WriteFile(both, append(cert, junk...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Chains([]CertificateFiles{{both, both}}); err != nil || len(got[0]) != 1 {
		t.Errorf("junk behind it: got %v, %v, want the certificate", got, err)
	}
}
