package probe

import "slices"

// shapeRows are hellos whose form is wrong.
func shapeRows() []helloRow {
	rows := slices.Concat(extensionRows(), messageRows(), sessionRows())
	for i := range rows {
		rows[i].name = dashed(rows[i].name)
	}
	return rows
}

func extensionRows() []helloRow {
	return []helloRow{
		{"grease", "GREASE in every list", []change{grease}},
		{"pad-512", "padded to 512 bytes", []change{padTo(512)}},
		{"pad-517", "padded to 517 bytes", []change{padTo(517)}},
		{"pad-4000", "padded to 4000 bytes", []change{padTo(4000)}},
		{"pad-16389", "padded to a full record", []change{padTo(16384 + recordHeaderLen)}},
		{"bad-pad", "padding that is not zero", []change{also(extPadding, noise(100))}},
		{"twice-sni", "server_name twice", []change{also(extName, nameList("a.example")), also(extName, nameList("b.example"))}},
		{"twice-groups", "supported_groups twice", []change{also(extGroups, list16(groupX25519))}},
		{"twice-unknown", "an unknown extension twice", []change{also(0x9999, nil), also(0x9999, nil)}},
		{"unknown-ext", "an unknown extension of 300 bytes", []change{also(0x9999, noise(300))}},
		{"many-exts", "200 unknown extensions", []change{func(h *hello) {
			for i := range uint16(200) {
				h.exts = append(h.exts, ext{0xa100 + i, nil})
			}
		}}},
		{"reversed-exts", "extensions in reverse order", []change{func(h *hello) { slices.Reverse(h.exts) }}},
		{"no-exts", "no extensions", []change{old(0x0303), func(h *hello) { h.exts, h.bare = nil, true }}},
		{"empty-exts", "an empty list of extensions", []change{old(0x0303), func(h *hello) { h.exts = nil }}},
		{"exts-long", "a length of extensions one too large", []change{bumpExts(1)}},
		{"exts-short", "a length of extensions one too small", []change{bumpExts(-1)}},
		{"last-ext-long", "a last extension longer than the message", []change{also(0x9999, noise(4)), mangled(func(b []byte) []byte { b[len(b)-5] = 9; return b })}},
		{"groups-odd", "supported_groups of odd length", []change{with(extGroups, []byte{0, 3, 0, 29, 0})}},
		{"groups-lying", "supported_groups with a lying length", []change{with(extGroups, []byte{0, 40, 0, 29})}},
		{"signatures-lying", "signature_algorithms with a lying length", []change{with(extSignatures, []byte{0, 99, 4, 3})}},
		{"alpn-lying", "ALPN with a lying length", []change{with(extALPN, []byte{0, 9, 2, 'h', '2'})}},
		{"sni-lying", "server_name with a lying length", []change{without(extName), ahead(extName, []byte{0, 50, 0, 0, 3, 'a', 'b', 'c'})}},
		{"sni-trailing", "server_name with a byte too many", []change{without(extName), ahead(extName, append(nameList("a.example"), 0))}},
		{"share-lying", "key_share with a lying length", []change{with(extKeyShare, []byte{0, 36, 0, 29, 0, 99, 1, 2})}},
		{"reneg-full", "renegotiation_info that is not empty", []change{with(extRenegotiate, append([]byte{12}, noise(12)...))}},
		{"master-full", "extended_master_secret with content", []change{with(extMaster, []byte{1})}},
		{"status-odd", "status_request of a type nobody has", []change{with(extStatus, []byte{9, 0, 0})}},
		{"early-data", "early_data without a key", []change{also(extEarly, nil)}},
	}
}

func messageRows() []helloRow {
	return []helloRow{
		{"no-compression", "no compression methods", []change{func(h *hello) { h.compress = nil }}},
		{"deflate", "compression methods deflate and null", []change{func(h *hello) { h.compress = []byte{1, 0} }}},
		{"deflate-only", "compression method deflate only", []change{func(h *hello) { h.compress = []byte{1} }}},
		{"compress-12", "compression twice, TLS 1.2", []change{old(0x0303), func(h *hello) { h.compress = []byte{0, 1, 64} }}},
		{"trailing", "a message with 7 bytes after the extensions", []change{mangled(func(b []byte) []byte {
			return message1(b[0], append(b[msgHeaderLen:], noise(7)...))
		})}},
		{"cut", "a message that ends inside the extensions", []change{mangled(func(b []byte) []byte {
			return message1(b[0], b[msgHeaderLen:len(b)-9])
		})}},
		{"cut-random", "a message that ends inside the random", []change{mangled(func(b []byte) []byte {
			return message1(b[0], b[msgHeaderLen:msgHeaderLen+20])
		})}},
		{"empty", "a message without content", []change{mangled(func(b []byte) []byte { return message1(b[0], nil) })}},
		{"long-message", "a message length beyond the record", []change{mangled(func(b []byte) []byte { b[2] += 4; return b })}},
		{"huge-message", "a message length of 16 MB", []change{mangled(func(b []byte) []byte { b[1], b[2], b[3] = 0xff, 0xff, 0xff; return b })}},
		{"as-server-hello", "the same with type ServerHello", []change{mangled(func(b []byte) []byte { b[0] = msgServerHello; return b })}},
		{"as-finished", "the same with type Finished", []change{mangled(func(b []byte) []byte { b[0] = msgFinished; return b })}},
		{"as-request", "the same with type HelloRequest", []change{mangled(func(b []byte) []byte { b[0] = 0; return b })}},
		{"as-99", "the same with type 99", []change{mangled(func(b []byte) []byte { b[0] = 99; return b })}},
		{"suites-odd", "cipher suites of odd length", []change{mangled(func(b []byte) []byte { b[msgHeaderLen+2+32+1+32+1]--; return b })}},
	}
}

func sessionRows() (rows []helloRow) {
	for _, n := range []int{0, 1, 16, 31, 32} {
		rows = append(rows, helloRow{"session-" + plural(n, "byte"), "a session id of " + plural(n, "byte"),
			[]change{func(h *hello) { h.session = noise(n) }}})
	}
	return append(rows,
		helloRow{"session-33 bytes", "a session id of 33 bytes", []change{func(h *hello) { h.session = noise(33) }}},
		helloRow{"session-255 bytes", "a session id of 255 bytes", []change{func(h *hello) { h.session = noise(255) }}},
		helloRow{"session-12", "a session id of 32 bytes, TLS 1.2", []change{old(0x0303), func(h *hello) { h.session = noise(32) }}})
}

// bumpExts changes the length of extensions by d.
//
//go:noinline
func bumpExts(d int) change {
	return mangled(func(b []byte) []byte {
		at := msgHeaderLen + 2 + 32
		at += 1 + int(b[at])
		at += 2 + int(b[at])<<8 + int(b[at+1])
		at += 1 + int(b[at])
		n := int(b[at])<<8 + int(b[at+1]) + d
		b[at], b[at+1] = byte(n>>8), byte(n)
		return b
	})
}

// guiseRows are the hellos of known programs, as far as their form goes.
func guiseRows() []helloRow {
	return []helloRow{
		{"chrome", "as Chrome's: GREASE, post-quantum share, ECH, ALPS", []change{chrome}},
		{"chrome-13", "as Chrome's, TLS 1.3 only", []change{chrome, only13}},
		{"safari", "as Safari's: GREASE, X25519, zlib certificates", []change{grease, also(extCompressed, []byte{2, 0, 1}), also(extTimestamp, nil)}},
		{"firefox", "as Firefox's: record size limit, delegated credentials", []change{quantum(false), also(28, []byte{0x40, 1}), also(34, list16(0x0403, 0x0503))}},
		{"openssl", "as curl's with OpenSSL: encrypt-then-MAC, no GREASE", []change{also(22, nil), without(extStatus)}},
		{"ech", "an encrypted hello of junk", []change{also(extECH, echOf(144))}},
		{"ech-old", "an encrypted hello under the wrong number 0xfe02", []change{also(0xfe02, echOf(144))}},
		{"faketls-517", "as Telegram's disguise, 517 bytes, digest wrong", []change{grease, also(extTimestamp, nil), padTo(517)}},
		{"faketls-517-short", "the same with a share of 20 bytes", []change{grease, with(extKeyShare, shares(share{groupX25519, noise(20)})), padTo(517)}},
		{"faketls-pq", "as Telegram's disguise of 2026, about 1800 bytes, digest wrong", []change{chrome, padTo(1800)}},
		{"faketls-google", "as Telegram's disguise, name www.google.com", []change{without(extName), ahead(extName, nameList("www.google.com")), grease, padTo(517)}},
		{"faketls-zero", "as Telegram's disguise with a digest of zeros", []change{grease, func(h *hello) { clear(h.random) }, padTo(517)}},
		{"reality", "as REALITY's client: session id with version and short id", []change{chrome, func(h *hello) { copy(h.session, []byte{26, 3, 27, 0}) }}},
	}
}

func chrome(h *hello) {
	quantum(false)(h)
	also(extTimestamp, nil)(h)
	also(extCompressed, []byte{2, 0, 2})(h)
	also(extSettings, protocols("h2"))(h)
	also(extECH, echOf(144))(h)
	grease(h)
}

// echOf is an outer encrypted hello of n bytes as browsers without a key send
// it: HKDF-SHA256, AES-128-GCM, a random key and payload.
//
//go:noinline
func echOf(n int) []byte {
	return join([]byte{0, 0, 1, 0, 1, 0x42}, vector16(randomBytes(32)), vector16(randomBytes(n)))
}

// jarmRows are the ten kinds of hello of the JARM scanner: versions, orders of
// suites, GREASE and rare ALPN names.
func jarmRows() []helloRow {
	var (
		reverse = func(h *hello) { slices.Reverse(h.suites) }
		top     = func(h *hello) { h.suites = h.suites[:len(h.suites)/2] }
		bottom  = func(h *hello) { h.suites = h.suites[len(h.suites)/2:] }
		middle  = func(h *hello) {
			var out []uint16
			for i, j := len(h.suites)/2, len(h.suites)/2-1; i < len(h.suites) || j >= 0; i, j = i+1, j-1 {
				if i < len(h.suites) {
					out = append(out, h.suites[i])
				}
				if j >= 0 {
					out = append(out, h.suites[j])
				}
			}
			h.suites = out
		}
		rare    = alpn("http/0.9", "http/1.0", "spdy/1", "spdy/2", "spdy/3", "h2c", "hq")
		ordered = with(extALPN, protocols("http/0.9", "http/1.0", "http/1.1", "spdy/1", "h2", "h2c", "hq"))
	)
	return []helloRow{
		{"jarm-1", "TLS 1.2, suites forward, ordered ALPN", []change{old(0x0303), ordered}},
		{"jarm-2", "TLS 1.2, suites in reverse, ordered ALPN", []change{old(0x0303), reverse, ordered}},
		{"jarm-3", "TLS 1.2, the upper half of the suites", []change{old(0x0303), top, ordered}},
		{"jarm-4", "TLS 1.2, the lower half of the suites, rare ALPN", []change{old(0x0303), bottom, rare}},
		{"jarm-5", "TLS 1.2, suites from the middle, GREASE, rare ALPN", []change{old(0x0303), middle, grease, rare}},
		{"jarm-6", "TLS 1.1, suites forward", []change{old(0x0302), ordered}},
		{"jarm-7", "TLS 1.3 offered, suites forward", []change{ordered}},
		{"jarm-8", "TLS 1.3 offered, suites in reverse", []change{reverse, ordered}},
		{"jarm-9", "TLS 1.3 suites, versions up to 1.2", []change{with(extSupportedVersions, versions(0x0303, 0x0302, 0x0301)), ordered}},
		{"jarm-10", "TLS 1.3 only, suites from the middle, GREASE", []change{middle, with(extSupportedVersions, versions(0x0304)), grease, rare}},
	}
}
