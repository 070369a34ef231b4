package site

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// endsSoon is how long before its end a certificate should have been renewed.
const endsSoon = 7 * 24 * time.Hour

// Outdated says why visitors refuse a certificate for its dates, or will soon, such as
// "has expired on 2026-01-31 (UTC)"; empty: they do not.
func Outdated(leaf *x509.Certificate, now time.Time) string {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) + " (UTC)" }
	// There are certificates for six days, which are renewed when a third is left.
	soon := min(endsSoon, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	switch {
	case now.After(leaf.NotAfter):
		return "has expired on " + day(leaf.NotAfter)
	case now.Before(leaf.NotBefore):
		return "is not valid before " + leaf.NotBefore.UTC().Format(time.DateTime) + " (UTC)"
	case leaf.NotAfter.Sub(now) < soon:
		return "ends on " + day(leaf.NotAfter)
	}
	return ""
}

// SelfSigned reports whether a certificate is signed with its own key, so that visitors
// have nobody to trust for it.
func SelfSigned(leaf *x509.Certificate) bool {
	return leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil
}

// Leaves reads the certificates in files, in their order, and looks at no key. The error
// names the file.
func Leaves(pairs []CertificateFiles) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, pair := range pairs {
		leaf, err := readLeaf(pair.Cert)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", pair.Cert, err)
		}
		out = append(out, leaf)
	}
	return out, nil
}

var errNoPEM = errors.New("no certificate in PEM")

// readLeaf passes over other blocks, as crypto/tls does: a key may stand in the same file.
func readLeaf(file string) (*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, errNoPEM
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
}

// Uncovered returns those of the names that none of the certificates is for.
func Uncovered(names []string, leaves []*x509.Certificate) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(leaves, func(leaf *x509.Certificate) bool { return leaf.VerifyHostname(name) == nil })
	})
}
