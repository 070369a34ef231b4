package browser_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"relay/transport/browser"
)

// echConfig is an ECHConfig for a public name (RFC 9849, Section 4).
func echConfig(t testing.TB, id, longest byte, public string) tls.EncryptedClientHelloKey {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatalf("key: got %v, want one", err)
	}
	body := []byte{id, 0, 0x20}
	body = binary.BigEndian.AppendUint16(body, 32)
	body = append(body, key.PublicKey().Bytes()...)
	body = append(body, 0, 4, 0, 1, 0, 1) // HKDF-SHA256, AES-128-GCM
	body = append(body, longest, byte(len(public)))
	body = append(body, public...)
	body = append(body, 0, 0)
	config := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(body)))
	return tls.EncryptedClientHelloKey{Config: append(config, body...), PrivateKey: key.Bytes(), SendAsRetry: true}
}

func echList(k tls.EncryptedClientHelloKey) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(k.Config))), k.Config...)
}

func TestECH(t *testing.T) {
	a := newAuthority(t)
	const public = "public.example.net"
	key, old := echConfig(t, 1, 0, public), echConfig(t, 2, 0, public)
	evil := echConfig(t, 3, 0, "other.example.net")
	config := &tls.Config{
		Certificates: []tls.Certificate{a.server(t, name), a.server(t, public)}, NextProtos: []string{"h2"},
		EncryptedClientHelloKeys: []tls.EncryptedClientHelloKey{key},
	}
	address, visits := serve(t, config)
	t.Run("accepted", func(t *testing.T) {
		c, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool(), ECH: echList(key), Sessions: new(browser.Sessions)})
		if err != nil {
			t.Fatalf("got %v, want nil; the server's: %v", err, (<-visits).err)
		}
		defer c.Close()
		v := <-visits
		if !c.ECHAccepted() || !v.state.ECHAccepted || v.state.ServerName != name || c.Protocol() != "h2" {
			t.Errorf("got %v, %v, %q, %q, want ECH, the inner name and h2", c.ECHAccepted(), v.state.ECHAccepted, v.state.ServerName, c.Protocol())
		}
		if !bytes.Contains(v.wire, []byte(public)) || bytes.Contains(v.wire, []byte(name)) {
			t.Error("hello: got another name in the clear, want the public one only")
		}
		if got, want := v.hello(t).JA4(), browser.Bundled().TLS.JA4(false); got != want {
			t.Errorf("JA4: got %s, want %s", got, want)
		}
		if got := v.hello(t).ECHPayloads; !slices.Contains(browser.Bundled().TLS.ECHPayloads, got[0]) {
			t.Errorf("payload: got %v, want one of %v, or whoever has ECH is known by it", got, browser.Bundled().TLS.ECHPayloads)
		}
		echo(t, c, 100_000)
	})
	t.Run("rejected", func(t *testing.T) {
		_, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool(), ECH: echList(old)})
		<-visits
		rejected, ok := errors.AsType[*browser.ECHRejectedError](err)
		if !ok || !bytes.Equal(rejected.Retry, echList(key)) {
			t.Fatalf("got %v, want a rejection with the right configuration", err)
		}
		c, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool(), ECH: rejected.Retry})
		if err != nil || !c.ECHAccepted() {
			t.Fatalf("second try: got %v, want ECH", err)
		}
		<-visits
		_ = c.Close()
	})
	t.Run("rejected by somebody else", func(t *testing.T) {
		_, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool(), ECH: echList(evil)})
		<-visits
		if _, ok := errors.AsType[x509.HostnameError](err); !ok {
			t.Errorf("got %v, want the name of the certificate: nobody has proved other.example.net", err)
		}
	})
	for _, tt := range []struct {
		name, want string
		list       []byte
	}{
		{"malformed", "malformed", []byte{0, 3, 1, 2, 3}},
		{"empty", "no ECH configuration", []byte{0, 0}},
		{"that gives us away", "maximum_name_length is 16", echList(echConfig(t, 1, 16, public))},
		{"of another version", "no ECH configuration", []byte{0, 4, 0xfe, 0x0a, 0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool(), ECH: tt.list})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestECHAnotherHello: the library does not send the inner hello's second keys. It
// must be an error, and soon.
func TestECHAnotherHello(t *testing.T) {
	a := newAuthority(t)
	key := echConfig(t, 1, 0, "public.example.net")
	address, _ := serve(t, &tls.Config{
		Certificates:             []tls.Certificate{a.server(t, name)},
		CurvePreferences:         []tls.CurveID{tls.CurveP256},
		EncryptedClientHelloKeys: []tls.EncryptedClientHelloKey{key},
	})
	if c, err := client(t, address, browser.Config{ServerName: name, Roots: a.pool(), ECH: echList(key)}); err == nil {
		_ = c.Close()
		t.Error("got a connection: the library can do it now, and Config.ECH should not deny it")
	}
}
