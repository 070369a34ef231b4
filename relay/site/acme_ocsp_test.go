package site

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/ocsp"

	"relay/relay/relaytest"
)

// authority signs certificates and OCSP responses.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	cert.Subject.CommonName = "authority"
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// answer is an OCSP responder.
func (a *authority) answer(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	q, err := ocsp.ParseRequest(b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b, err = ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
		SerialNumber: q.SerialNumber, Status: ocsp.Good,
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}, a.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(b)
}

// issue returns a chain and its key, in PEM, whose OCSP responder is at url.
func (a *authority) issue(t *testing.T, name, url string) (chain, secret []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, OCSPServer: []string{url},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(900 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, c := range [][]byte{der, a.cert.Raw} {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c})
	}
	if secret, err = certmagic.PEMEncodePrivateKey(key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), secret
}

// A certificate that names a responder is served with its response, which is
// kept, and is no worse where the responder is gone.
func TestACMEStaple(t *testing.T) {
	relaytest.LeakCheck(t)
	const name = "www.example.org"
	ca := newAuthority(t)
	responder := httptest.NewServer(http.HandlerFunc(ca.answer))
	chain, key := ca.issue(t, name, responder.URL)
	state := filepath.Join(t.TempDir(), "acme")
	staple := func() []byte {
		t.Helper()
		a, err := NewACME(ACMEOptions{Names: []string{name}, State: state, ALPN: true, Directories: []string{"https://127.0.0.1:1/dir"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Shutdown(t.Context()) //nolint:errcheck // it was never started
		for file, b := range map[string][]byte{".crt": chain, ".key": key, ".json": []byte(`{"sans":["` + name + `"]}`)} {
			if err := a.store.Store(t.Context(), "certificates/127.0.0.1-1-dir/"+name+"/"+name+file, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.look(t.Context(), a.managed[0]); err != nil {
			t.Fatalf("look: got %v, want nil", err)
		}
		c, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatalf("certificate: got %v, want nil", err)
		}
		return c.OCSPStaple
	}
	first := staple()
	if r, err := ocsp.ParseResponse(first, ca.cert); err != nil || r.Status != ocsp.Good {
		t.Fatalf("staple: got %x, %v, want a good response", first, err)
	}
	responder.Close()
	if got := staple(); !bytes.Equal(got, first) {
		t.Errorf("from the store: got %x, want the same response", got)
	}
	chain, key = ca.issue(t, name, responder.URL)
	if got := staple(); got != nil {
		t.Errorf("without the responder: got %x, want none", got)
	}
}
