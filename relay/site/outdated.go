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

// Distrusted says why visitors trust nobody for a certificate, which is the first of a
// chain; empty: nothing is known. Who trusts the last of the chain is not asked.
func Distrusted(chain []*x509.Certificate) (why, remedy string) {
	leaf := chain[0]
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		return "is signed by itself", "have an authority sign it"
	}
	if !slices.ContainsFunc(chain[1:], func(c *x509.Certificate) bool { return leaf.CheckSignatureFrom(c) == nil }) {
		return "comes without that of who signed it", "put the whole chain into the file, as fullchain.pem has it"
	}
	return "", ""
}

// Chains reads the certificates in files, in their order, and looks at no key. The first of
// each file is the site's, others lead to who signed it. The error names the file.
func Chains(pairs []CertificateFiles) ([][]*x509.Certificate, error) {
	var out [][]*x509.Certificate
	for _, pair := range pairs {
		chain, err := readChain(pair.Cert)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", pair.Cert, err)
		}
		out = append(out, chain)
	}
	return out, nil
}

var errNoPEM = errors.New("no certificate in PEM")

// readChain passes over other blocks, as crypto/tls does: a key may stand in the same file.
func readChain(file string) (chain []*x509.Certificate, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil && len(chain) > 0 {
			continue // crypto/tls sends it all the same
		}
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errNoPEM
	}
	return chain, nil
}

// Uncovered returns those of the names that the first of none of the chains is for.
func Uncovered(names []string, chains [][]*x509.Certificate) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool { return chain[0].VerifyHostname(name) == nil })
	})
}
