package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"time"
)

// ports are where the sink listens.
type ports struct {
	sink int
	// dc is a SOCKS5 server for a proxy that goes to Telegram's own addresses
	// only: whatever it is asked for, the sink answers, as a data centre.
	dc int
	// site is a TLS server for a proxy that wants one to show to strangers.
	site int
}

// openDC looks at the first bytes of a connection. A proxy of Telegram sends a
// frame, whose second four bytes are never zero, as those of a header are. It
// returns the connection with the header's bytes, which may be that or inside.
func openDC(c net.Conn, first []byte) (net.Conn, error) {
	if bytes.Equal(first[1:8], make([]byte, 7)) {
		return c, nil
	}
	wire := make([]byte, frameSize)
	n := copy(wire, first)
	if _, err := io.ReadFull(c, wire[n:]); err != nil {
		return nil, err
	}
	inside, err := acceptObfuscated(c, wire)
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(inside, first)
	return inside, err
}

// serveDC answers a SOCKS5 client (RFC 1928, Sections 3, 4 and 6) and is the
// target itself.
func serveDC(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(sinkLimit)); err != nil {
		return err
	}
	b := make([]byte, 260)
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b[2:2+int(b[1])]); err != nil {
		return err
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b[:5]); err != nil {
		return err
	}
	rest := 0
	switch b[3] {
	case 1:
		rest = net.IPv4len - 1
	case 3:
		rest = int(b[4])
	case 4:
		rest = net.IPv6len - 1
	default:
		return errors.New("socks5: unknown kind of address")
	}
	if _, err := io.ReadFull(c, b[:rest+2]); err != nil {
		return err
	}
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	return serveConnection(c)
}

// siteServer returns what a TLS server with a certificate of its own does with a
// connection: the handshake, and an answer.
func siteServer() (func(net.Conn) error, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	return func(c net.Conn) error {
		if err := c.SetDeadline(time.Now().Add(openLimit)); err != nil {
			return err
		}
		t := tls.Server(c, config)
		if _, err := t.Read(make([]byte, 4096)); err != nil {
			return err
		}
		_, err := io.WriteString(t, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n")
		return errors.Join(err, t.Close())
	}, nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		DNSNames: []string{siteName},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
