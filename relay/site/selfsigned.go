package site

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// selfSigned returns a certificate for each name: those in file, and new ones,
// which are added to it, for names that have none there. An empty file means to
// keep them in memory only.
func selfSigned(names []string, file string) ([]*tls.Certificate, error) {
	var kept []byte
	if file != "" {
		var err error
		if kept, err = os.ReadFile(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
	}
	had, err := readPairs(kept)
	if err == nil && len(kept) > 0 && len(had) == 0 {
		err = errNoPair
	}
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate %s: %w; remove it to have a new one made", file, err)
	}
	var list []*tls.Certificate
	before := len(kept)
	for _, name := range names {
		i := slices.IndexFunc(had, func(c *tls.Certificate) bool { return c.Leaf.VerifyHostname(name) == nil })
		if i >= 0 {
			list = append(list, had[i])
			continue
		}
		b, err := makeSelfSigned(name)
		if err != nil {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
		made, err := readPairs(b)
		if err != nil {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
		list, kept = append(list, made...), append(kept, b...)
	}
	if file != "" && len(kept) > before {
		if err := keep(file, kept); err != nil {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
	}
	return list, nil
}

var errNoPair = errors.New("no certificate with its key in PEM")

// readPairs reads certificates from PEM, each with its chain and the key behind
// it, as they are kept in one file.
func readPairs(b []byte) ([]*tls.Certificate, error) {
	var list []*tls.Certificate
	var chain bytes.Buffer
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return list, nil
		}
		if block.Type == "CERTIFICATE" {
			_ = pem.Encode(&chain, block)
			continue
		}
		c, err := tls.X509KeyPair(chain.Bytes(), pem.EncodeToMemory(block))
		if err != nil {
			return nil, err
		}
		list = append(list, &c)
		chain.Reset()
	}
}

// selfSignedFor is how long a self-signed certificate is valid. Links carry its
// pin, so that nobody needs it to expire.
const selfSignedFor = 10 * 365 * 24 * time.Hour

// makeSelfSigned returns a certificate for the name and its key, in PEM.
func makeSelfSigned(name string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	// From an hour ago on: clocks of clients differ.
	from := time.Now().Add(-time.Hour)
	leaf := &x509.Certificate{
		SerialNumber:          serial,
		DNSNames:              []string{name},
		NotBefore:             from,
		NotAfter:              from.Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	leaf.Subject.CommonName = name
	if len(name) > 64 { // RFC 5280, Appendix A.1: ub-common-name
		leaf.Subject.CommonName = ""
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}

// keep writes a secret file at once or not at all.
func keep(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// Pin is the SHA-256 of the self-signed certificate for name in file, in
// hexadecimal; empty if there is none.
func Pin(file, name string) string {
	kept, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	pairs, err := readPairs(kept)
	if err != nil {
		return ""
	}
	for _, c := range pairs {
		if c.Leaf.VerifyHostname(name) == nil {
			sum := sha256.Sum256(c.Leaf.Raw)
			return hex.EncodeToString(sum[:])
		}
	}
	return ""
}
