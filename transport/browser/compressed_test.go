package browser_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/hello"
)

// compressor is as much of a server of TLS 1.3 (RFC 8446) as it takes to send a
// compressed certificate (RFC 8879), as CDNs do to browsers: crypto/tls cannot.
type compressor struct {
	net.Conn
	t          *testing.T
	transcript []byte
	aead       cipher.AEAD // of what it sends
	iv         []byte
	seq        uint64
}

func label(secret []byte, name string, context []byte, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(name)))
	info = append(info, "tls13 "+name...)
	info = append(append(info, byte(len(context))), context...)
	out, _ := hkdf.Expand(sha256.New, secret, string(info), n)
	return out
}

func (c *compressor) hash() []byte { h := sha256.Sum256(c.transcript); return h[:] }

func (c *compressor) keys(secret []byte) {
	block, err := aes.NewCipher(label(secret, "key", nil, 16))
	if err != nil {
		c.t.Error(err)
	}
	c.aead, _ = cipher.NewGCM(block)
	c.iv, c.seq = label(secret, "iv", nil, 12), 0
}

// send writes a record; kind is the one inside.
func (c *compressor) send(kind byte, body []byte) {
	for len(body) > 0 {
		part := body[:min(len(body), 16<<10)]
		body = body[len(part):]
		nonce := bytes.Clone(c.iv)
		for i := range 8 {
			nonce[4+i] ^= byte(c.seq >> (56 - 8*i))
		}
		c.seq++
		head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(part)+1+16))
		_, _ = c.Write(c.aead.Seal(head, nonce, append(bytes.Clone(part), kind), head))
	}
}

func message(kind byte, body []byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func (c *compressor) say(kind byte, body []byte) {
	m := message(kind, body)
	c.transcript = append(c.transcript, m...)
	c.send(22, m)
}

// serve makes a handshake, says "hello" and waits for the end. claim is what it says
// of the length before compression.
func (c *compressor) serve(cert tls.Certificate, claim func(int) int) {
	wire := make([]byte, 0, hello.MaxSize)
	for b := make([]byte, 4096); hello.Match(wire) != transport.Yes; {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		wire = append(wire, b[:n]...)
	}
	record, _, _ := hello.Record(nil, wire)
	h, err := hello.Parse(hello.Message(record))
	if err != nil {
		c.t.Error(err)
	}
	c.transcript = bytes.Clone(hello.Message(record))
	key, _ := ecdh.X25519().GenerateKey(rand.Reader)
	peer, _ := ecdh.X25519().NewPublicKey(h.KeyShare(hello.GroupX25519))
	shared, err := key.ECDH(peer)
	if err != nil {
		c.t.Error(err)
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	body := append([]byte{3, 3}, random...)
	body = append(append(body, 32), h.SessionID...)
	body = append(body, 0x13, 0x01, 0, 0, 6+40, 0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32)
	m := message(2, append(body, key.PublicKey().Bytes()...))
	c.transcript = append(c.transcript, m...)
	_, _ = c.Write(append(binary.BigEndian.AppendUint16([]byte{22, 3, 3}, uint16(len(m))), m...))

	empty := sha256.Sum256(nil)
	early, _ := hkdf.Extract(sha256.New, make([]byte, 32), nil)
	secret, _ := hkdf.Extract(sha256.New, shared, label(early, "derived", empty[:], 32))
	server := label(secret, "s hs traffic", c.hash(), 32)
	c.keys(server)
	c.say(8, []byte{0, 0})
	c.say(25, compressed(cert, claim))
	toSign := sha256.Sum256([]byte(strings.Repeat(" ", 64) + "TLS 1.3, server CertificateVerify\x00" + string(c.hash())))
	signature, err := ecdsa.SignASN1(rand.Reader, cert.PrivateKey.(*ecdsa.PrivateKey), toSign[:])
	if err != nil {
		c.t.Error(err)
	}
	c.say(15, append(binary.BigEndian.AppendUint16([]byte{4, 3}, uint16(len(signature))), signature...))
	mac := hmac.New(sha256.New, label(server, "finished", nil, 32))
	_, _ = mac.Write(c.hash())
	c.say(20, mac.Sum(nil))
	master, _ := hkdf.Extract(sha256.New, make([]byte, 32), label(secret, "derived", empty[:], 32))
	c.keys(label(master, "s ap traffic", c.hash(), 32))
	c.send(23, []byte("hello"))
	_, _ = io.Copy(io.Discard, c)
}

// compressed is the body of a CompressedCertificate.
func compressed(cert tls.Certificate, claim func(int) int) []byte {
	var list []byte
	for _, der := range cert.Certificate {
		list = append(list, byte(len(der)>>16), byte(len(der)>>8), byte(len(der)))
		list = append(append(list, der...), 0, 0)
	}
	plain := append([]byte{0, byte(len(list) >> 16), byte(len(list) >> 8), byte(len(list))}, list...)
	var packed bytes.Buffer
	w := brotli.NewWriter(&packed)
	_, _ = w.Write(plain)
	_ = w.Close()
	n, p := claim(len(plain)), packed.Len()
	return append([]byte{0, 2, byte(n >> 16), byte(n >> 8), byte(n), byte(p >> 16), byte(p >> 8), byte(p)}, packed.Bytes()...)
}

func TestCompressedCertificates(t *testing.T) {
	a := newAuthority(t)
	cert := a.server(t, name)
	long := cert
	for range 150 { // 60 kB that cannot be compressed
		extra := a.issue(t, &x509.Certificate{DNSNames: []string{name}}, newKey(t))
		long.Certificate = append(long.Certificate, extra.Raw)
	}
	for _, tt := range []struct {
		name  string
		cert  tls.Certificate
		claim func(int) int
		ok    bool
	}{
		{"as CDNs have them", cert, func(n int) int { return n }, true},
		{"long", long, func(n int) int { return n }, true},
		{"shorter than said", cert, func(n int) int { return n + 1 }, false},
		{"longer than said", cert, func(n int) int { return n - 1 }, false},
		{"16 MB", cert, func(int) int { return 1<<24 - 1 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				defer raw.Close()
				_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
				(&compressor{Conn: raw, t: t}).serve(tt.cert, tt.claim)
			}()
			defer func() { <-done }()
			c, err := client(t, ln.Addr().String(), browser.Config{ServerName: name, Roots: a.pool()})
			if (err == nil) != tt.ok {
				t.Errorf("got %v, want an error: %v", err, !tt.ok)
			}
			if err != nil {
				return
			}
			defer c.Close()
			b := make([]byte, 5)
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
				t.Errorf("got %q, %v, want hello", b, err)
			}
		})
	}
}
