package site

import (
	"crypto/tls"
	"errors"
)

// newTLSConfig is how Caddy v2.11.3 configures crypto/tls: versions, curves,
// cipher suites and protocols, and that there are two configurations. The outer
// one owns the keys of session tickets, which crypto/tls rotates daily.
func newTLSConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	inner := &tls.Config{
		GetCertificate: get,
		// acme-tls/1 is offered whether or not ACME is in use.
		NextProtos: []string{"h2", "http/1.1", acmeProtocol},
		MinVersion: tls.VersionTLS12,
		MaxVersion: tls.VersionTLS13,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		// Without this list the defaults of the Go release, and of the go line
		// in go.mod, would add P-384, P-521 and two more hybrids.
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil },
	}
}

// acmeProtocol is the ALPN protocol of the challenge tls-alpn-01 (RFC 8737,
// Section 4).
const acmeProtocol = "acme-tls/1"

// errNoCertificate ends a handshake with the alert internal_error, which is
// what Caddy sends for a server name that it does not know, and for none.
var errNoCertificate = errors.New("no certificate for this server name")

// isChallenge returns whether an authority tries tls-alpn-01, or somebody who
// does as if.
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return hello.ServerName != "" && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmeProtocol
}
