package probe

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
)

// helloRow is a hello in one write and one record, and then silence.
type helloRow struct {
	name, sends string
	changes     []change
}

func helloProbes() (list []Probe) {
	rows := slices.Concat(versionRows(), nameRows(), listRows(), shareRows(), shapeRows(), guiseRows(), jarmRows())
	for _, r := range rows {
		list = append(list, Probe{
			Name: "hello-" + r.name, Sends: "a ClientHello: " + r.sends,
			run: func(c *conn) { c.send(c.hello(r.changes...).records()) },
		})
	}
	for _, v := range []struct {
		name    string
		version uint16
	}{{"10", tls.VersionTLS10}, {"11", tls.VersionTLS11}, {"12", tls.VersionTLS12}, {"13", tls.VersionTLS13}} {
		list = append(list, Probe{
			Name: "hello-go-tls" + v.name, Sends: "the ClientHello of Go's crypto/tls, TLS 1." + v.name[1:] + " only",
			run: func(c *conn) { c.send(goHello(c.name, v.version)) },
		})
	}
	return list
}

func (c *conn) hello(changes ...change) *hello { return newHello(c.name, changes...) }

// goHello is what crypto/tls would send.
func goHello(name string, version uint16) []byte {
	near, far := net.Pipe()
	defer far.Close()
	go func() { // ends when far is closed
		defer near.Close()
		//nolint:gosec // nothing is sent over this connection
		_ = tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}).Handshake()
	}()
	head := make([]byte, recordHeaderLen)
	if _, err := io.ReadFull(far, head); err != nil {
		return nil
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(far, body); err != nil {
		return nil
	}
	return append(head, body...)
}

func versionRows() []helloRow {
	rows := []helloRow{
		{"good", "as a browser's, TLS 1.3 and 1.2", nil},
		{"tls10", "TLS 1.0 only", []change{old(0x0301)}},
		{"tls11", "TLS 1.1 only", []change{old(0x0302)}},
		{"tls12", "TLS 1.2 only", []change{old(0x0303)}},
		{"tls13", "TLS 1.3 only", []change{only13}},
		{"ssl3", "SSL 3.0 only", []change{old(0x0300), func(h *hello) { h.exts, h.bare = nil, true }}},
		{"tls13-draft", "TLS 1.3 draft 28 only", []change{with(extSupportedVersions, versions(0x7f1c))}},
		{"versions-unknown", "supported_versions holds 0x0305 only", []change{with(extSupportedVersions, versions(0x0305))}},
		{"versions-empty", "supported_versions is an empty list", []change{with(extSupportedVersions, []byte{0})}},
		{"versions-old", "supported_versions holds TLS 1.1 and 1.0", []change{with(extSupportedVersions, versions(0x0302, 0x0301))}},
		{"fallback", "TLS 1.1 with TLS_FALLBACK_SCSV", []change{old(0x0302), func(h *hello) { h.suites = append(h.suites, 0x5600) }}},
		{"no-versions", "TLS 1.3 suites without supported_versions", []change{without(extSupportedVersions)}},
	}
	for v := uint16(0x0300); v <= 0x0305; v++ {
		rows = append(rows,
			helloRow{"legacy-" + hex16(v), "legacy_version 0x" + hex16(v), []change{func(h *hello) { h.legacy = v }}},
			helloRow{"record-" + hex16(v), "record version 0x" + hex16(v), []change{func(h *hello) { h.record = v }}})
	}
	return append(rows, helloRow{"legacy-0204", "legacy_version 0x0204", []change{func(h *hello) { h.legacy = 0x0204 }}})
}

func nameRows() []helloRow {
	long := strings.Repeat("abcdefgh.", 28) + "example" // 259 bytes
	return []helloRow{
		{"no-sni", "no server name", []change{without(extName)}},
		{"wrong-sni", "server name wrong.example", []change{without(extName), ahead(extName, nameList("wrong.example"))}},
		{"ip-sni", "server name 192.0.2.1", []change{without(extName), ahead(extName, nameList("192.0.2.1"))}},
		{"empty-sni", "an empty server name", []change{without(extName), ahead(extName, nameList(""))}},
		{"no-list-sni", "a server_name extension without content", []change{without(extName), ahead(extName, nil)}},
		{"long-sni", "a server name of 259 bytes", []change{without(extName), ahead(extName, nameList(long))}},
		{"nul-sni", "a server name with a zero byte in it", []change{without(extName), ahead(extName, nameList("a\x00.example"))}},
		{"dot-sni", "server name \"wrong.example.\"", []change{without(extName), ahead(extName, nameList("wrong.example."))}},
		{"upper-sni", "server name WRONG.EXAMPLE", []change{without(extName), ahead(extName, nameList("WRONG.EXAMPLE"))}},
		{"utf8-sni", "a server name in UTF-8", []change{without(extName), ahead(extName, nameList("пример.example"))}},
		{"two-sni", "two server names", []change{without(extName), ahead(extName, vector16(join(
			[]byte{0}, vector16([]byte("a.example")), []byte{0}, vector16([]byte("b.example")))))}},
		{"type-sni", "a server name of type 5", []change{without(extName), ahead(extName, vector16(join([]byte{5}, vector16([]byte("a.example")))))}},
		{"telegram-sni", "server name web.telegram.org", []change{without(extName), ahead(extName, nameList("web.telegram.org"))}},
		{"signal-sni", "server name chat.signal.org", []change{without(extName), ahead(extName, nameList("chat.signal.org"))}},
		{"whatsapp-sni", "server name g.whatsapp.net", []change{without(extName), ahead(extName, nameList("g.whatsapp.net"))}},
	}
}

func listRows() []helloRow {
	return []helloRow{
		{"no-alpn", "no ALPN", []change{without(extALPN)}},
		{"h1-alpn", "ALPN http/1.1", []change{alpn("http/1.1")}},
		{"h2-alpn", "ALPN h2", []change{alpn("h2")}},
		{"odd-alpn", "ALPN foo", []change{alpn("foo")}},
		{"acme-alpn", "ALPN acme-tls/1", []change{alpn("acme-tls/1")}},
		{"h3-alpn", "ALPN h3, http/0.9, spdy/3", []change{alpn("h3", "http/0.9", "spdy/3")}},
		{"empty-alpn", "an ALPN list with an empty name", []change{alpn("")}},
		{"no-list-alpn", "an ALPN extension without names", []change{with(extALPN, vector16(nil))}},
		{"long-alpn", "ALPN of 255 bytes", []change{alpn(strings.Repeat("x", 255))}},
		{"weird-suites", "only suites that nobody has", []change{suites(0x00ff, 0xfefe, 0x0099, 0x4a4a)}},
		{"no-suites", "no cipher suites", []change{suites()}},
		{"null-suites", "only suites without encryption", []change{suites(0x0001, 0x0002, 0x003b)}},
		{"rc4-suites", "only RC4 and 3DES", []change{old(0x0303), suites(0x0005, 0x0004, 0x000a)}},
		{"cbc-suites", "only CBC suites", []change{old(0x0303), suites(0xc013, 0xc014, 0xc009, 0xc00a, 0x002f)}},
		{"rsa-suites", "only RSA key exchange", []change{old(0x0303), suites(0x009c, 0x009d, 0x002f, 0x0035)}},
		{"dhe-suites", "only DHE key exchange", []change{old(0x0303), suites(0x009e, 0x009f, 0x0033, 0x0039)}},
		{"chacha-suites", "only ChaCha20", []change{suites(0x1303, 0xcca9, 0xcca8)}},
		{"ccm-suites", "only CCM", []change{suites(0x1304, 0x1305, 0xc0ac)}},
		{"anon-suites", "only anonymous suites", []change{old(0x0303), suites(0xc018, 0xc019, 0x0034)}},
		{"256-suites", "TLS_AES_256_GCM_SHA384 first", []change{suites(0x1302, 0x1301)}},
		{"many-suites", "400 cipher suites", []change{func(h *hello) {
			for i := range uint16(385) {
				h.suites = append(h.suites, 0xd000+i)
			}
		}}},
		{"no-signatures", "no signature_algorithms", []change{without(extSignatures)}},
		{"odd-signatures", "only signature algorithms that nobody has", []change{with(extSignatures, list16(0xfefe, 0x0a0a))}},
		{"sha1-signatures", "only SHA-1 signatures", []change{old(0x0303), with(extSignatures, list16(0x0201, 0x0203))}},
		{"ed-signatures", "only Ed25519 signatures", []change{with(extSignatures, list16(0x0807))}},
		{"no-points", "no point formats", []change{without(extPoints)}},
		{"odd-points", "compressed points only", []change{old(0x0303), with(extPoints, []byte{1, 1})}},
	}
}

func shareRows() []helloRow {
	return []helloRow{
		{"no-share", "an empty key_share: asks for a HelloRetryRequest", []change{with(extKeyShare, shares())}},
		{"no-key-share", "TLS 1.3 without a key_share extension", []change{without(extKeyShare)}},
		{"no-groups", "no supported_groups", []change{without(extGroups)}},
		{"odd-groups", "only groups that nobody has", []change{groups([]uint16{0xfefe, 0x0a0a})}},
		{"p256", "P-256 only, with a share", []change{groups([]uint16{groupP256}, p256())}},
		{"p256-retry", "a P-256 share, X25519 preferred", []change{groups([]uint16{groupX25519, groupP256}, p256())}},
		{"p384-retry", "P-384 only, no share", []change{groups([]uint16{groupP384})}},
		{"p521-retry", "P-521 only, no share", []change{groups([]uint16{25})}},
		{"x448-retry", "X448 only, no share", []change{groups([]uint16{30})}},
		{"ffdhe", "ffdhe2048 only, no share", []change{groups([]uint16{256})}},
		{"pq", "X25519MLKEM768 first, 1.7 kB", []change{quantum(false)}},
		{"pq-only", "X25519MLKEM768 only", []change{quantum(true)}},
		{"pq-only-13", "X25519MLKEM768 only, TLS 1.3 only", []change{only13, quantum(true)}},
		{"pq-junk", "X25519MLKEM768 with a random share", []change{groups([]uint16{groupPQ, groupX25519}, share{groupPQ, noise(1216)})}},
		{"zero-share", "an X25519 share of zeros", []change{with(extKeyShare, shares(share{groupX25519, make([]byte, 32)}))}},
		{"short-share", "an X25519 share of 20 bytes", []change{with(extKeyShare, shares(share{groupX25519, noise(20)}))}},
		{"off-share", "a P-256 share that is not on the curve", []change{groups([]uint16{groupP256}, share{groupP256, append([]byte{4}, noise(64)...)})}},
		{"share-not-offered", "a share of a group that is not offered", []change{with(extGroups, list16(groupP256))}},
		{"share-twice", "two X25519 shares", []change{with(extKeyShare, shares(share{groupX25519, noise(32)}, share{groupX25519, noise(32)}))}},
		{"psk-junk", "a pre_shared_key of junk at the end", []change{also(extPSK, pskOf(noise(32), noise(32)))}},
		{"psk-ticket", "a pre_shared_key with a ticket of 192 bytes", []change{also(extPSK, pskOf(noise(192), noise(32)))}},
		{"psk-first", "a pre_shared_key that is not at the end", []change{ahead(extPSK, pskOf(noise(32), noise(32)))}},
		{"psk-no-modes", "a pre_shared_key without modes", []change{without(extPSKModes), also(extPSK, pskOf(noise(32), noise(32)))}},
		{"psk-short", "a pre_shared_key with a binder of 5 bytes", []change{also(extPSK, pskOf(noise(32), noise(5)))}},
		{"psk-ke", "PSK mode psk_ke only", []change{with(extPSKModes, []byte{1, 0})}},
		{"ticket", "a session ticket of 200 random bytes, TLS 1.2", []change{old(0x0303), with(extTicket, noise(200))}},
		{"cookie", "a cookie nobody gave", []change{also(extCookie, vector16(noise(32)))}},
	}
}

// pskOf is a pre_shared_key of one identity, RFC 8446, Section 4.2.11.
//
//go:noinline
func pskOf(identity, binder []byte) []byte {
	id := append(vector16(identity), 0, 0, 0, 1)
	return join(vector16(id), vector16(append([]byte{byte(len(binder))}, binder...)))
}

//go:noinline
func hex16(v uint16) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15]})
}
