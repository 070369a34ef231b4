package probe

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"encoding/binary"
	"slices"
)

// hello is a ClientHello with everything in it open to mistakes.
type hello struct {
	record   uint16 // version of the record
	legacy   uint16 // version of the message
	random   []byte
	session  []byte
	suites   []uint16
	compress []byte
	exts     []ext
	bare     bool             // without a length of extensions
	private  *ecdh.PrivateKey // of the X25519 share
	mangle   []func([]byte) []byte
}

type ext struct {
	typ  uint16
	body []byte
}

// Extensions, IANA TLS ExtensionType Values.
const (
	extName        = 0
	extStatus      = 5
	extGroups      = 10
	extPoints      = 11
	extSignatures  = 13
	extALPN        = 16
	extTimestamp   = 18
	extPadding     = 21
	extMaster      = 23
	extCompressed  = 27
	extTicket      = 35
	extPSK         = 41
	extEarly       = 42
	extCookie      = 44
	extPSKModes    = 45
	extSettings    = 17613 // ALPS, as Chrome numbers it
	extECH         = 0xfe0d
	extRenegotiate = 0xff01
)

// Groups.
const (
	groupP256   = 23
	groupP384   = 24
	groupX25519 = 29
	groupPQ     = 0x11ec // X25519MLKEM768
)

var usualSuites = []uint16{
	0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
	0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
}

// change is one thing done to a good hello.
type change func(*hello)

// newHello is the hello that a browser of 2024 could have sent, then changed.
func newHello(name string, changes ...change) *hello {
	h := &hello{
		record: 0x0301, legacy: versionTLS12,
		random: randomBytes(32), session: randomBytes(32),
		suites: slices.Clone(usualSuites), compress: []byte{0},
	}
	h.private, _ = ecdh.X25519().GenerateKey(nil) // never fails
	if name != "" {
		h.exts = append(h.exts, ext{extName, nameList(name)})
	}
	h.exts = append(h.exts,
		ext{extMaster, nil},
		ext{extRenegotiate, []byte{0}},
		ext{extGroups, list16(groupX25519, groupP256, groupP384)},
		ext{extPoints, []byte{1, 0}},
		ext{extTicket, nil},
		ext{extALPN, protocols("h2", "http/1.1")},
		ext{extStatus, []byte{1, 0, 0, 0, 0}},
		ext{extSignatures, list16(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)},
		ext{extKeyShare, shares(share{groupX25519, h.private.PublicKey().Bytes()})},
		ext{extPSKModes, []byte{1, 1}},
		ext{extSupportedVersions, versions(0x0304, 0x0303)},
	)
	for _, f := range changes {
		f(h)
	}
	return h
}

// message is the handshake message, header included.
func (h *hello) message() []byte {
	b := binary.BigEndian.AppendUint16(nil, h.legacy)
	b = append(b, h.random...)
	b = append(append(b, byte(len(h.session))), h.session...)
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(h.suites)))
	for _, s := range h.suites {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	b = append(append(b, byte(len(h.compress))), h.compress...)
	if !h.bare {
		b = append(b, vector16(extensions(h.exts))...)
	}
	b = message1(msgClientHello, b)
	for _, f := range h.mangle {
		b = f(b)
	}
	return b
}

func extensions(exts []ext) (b []byte) {
	for _, e := range exts {
		b = binary.BigEndian.AppendUint16(b, e.typ)
		b = append(b, vector16(e.body)...)
	}
	return b
}

// records is the hello in one record.
func (h *hello) records() []byte { return plainRecord(recHandshake, h.record, h.message()) }

// inRecords is the hello in n records.
func (h *hello) inRecords(n int) (b []byte) {
	m := h.message()
	for i := range n {
		b = append(b, plainRecord(recHandshake, h.record, m[i*len(m)/n:(i+1)*len(m)/n])...)
	}
	return b
}

//go:noinline
func recordHeader(typ byte, version uint16, n int) []byte {
	return []byte{typ, byte(version >> 8), byte(version), byte(n >> 8), byte(n)}
}

//go:noinline
func plainRecord(typ byte, version uint16, b []byte) []byte {
	return append(recordHeader(typ, version, len(b)), b...)
}

// ccs is n records of ChangeCipherSpec.
func ccs(n int) (b []byte) {
	for range n {
		b = append(b, recCCS, 3, 3, 0, 1, 1)
	}
	return b
}

func alert(level, description byte) []byte {
	return plainRecord(recAlert, versionTLS12, []byte{level, description})
}

// message1 is one handshake message.
//
//go:noinline
func message1(typ byte, body []byte) []byte {
	return append([]byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

//go:noinline
func vector16(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

//go:noinline
func list16(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return vector16(b)
}

//go:noinline
func nameList(name string) []byte {
	return vector16(append([]byte{0}, vector16([]byte(name))...))
}

//go:noinline
func protocols(names ...string) []byte {
	var b []byte
	for _, n := range names {
		b = append(append(b, byte(len(n))), n...)
	}
	return vector16(b)
}

//go:noinline
func versions(list ...uint16) []byte {
	b := []byte{byte(2 * len(list))}
	for _, v := range list {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

type share struct {
	group uint16
	key   []byte
}

//go:noinline
func shares(list ...share) []byte {
	var b []byte
	for _, s := range list {
		b = binary.BigEndian.AppendUint16(b, s.group)
		b = append(b, vector16(s.key)...)
	}
	return vector16(b)
}

// with replaces an extension, or adds it before a pre_shared_key.
//
//go:noinline
func with(typ uint16, body []byte) change {
	return func(h *hello) {
		for i := range h.exts {
			if h.exts[i].typ == typ {
				h.exts[i].body = body
				return
			}
		}
		h.exts = append(h.exts, ext{typ, body})
	}
}

// also adds an extension even where there is one of its kind.
//
//go:noinline
func also(typ uint16, body []byte) change {
	return func(h *hello) { h.exts = append(h.exts, ext{typ, body}) }
}

// ahead puts an extension first.
//
//go:noinline
func ahead(typ uint16, body []byte) change {
	return func(h *hello) { h.exts = slices.Insert(h.exts, 0, ext{typ, body}) }
}

//go:noinline
func without(types ...uint16) change {
	return func(h *hello) {
		h.exts = slices.DeleteFunc(h.exts, func(e ext) bool { return slices.Contains(types, e.typ) })
	}
}

//go:noinline
func suites(list ...uint16) change { return func(h *hello) { h.suites = list } }

//go:noinline
func alpn(names ...string) change { return with(extALPN, protocols(names...)) }

// old is a hello of TLS 1.2 or before, without what 1.3 brought.
//
//go:noinline
func old(version uint16) change {
	return func(h *hello) {
		h.legacy = version
		h.suites = slices.Clone(usualSuites[3:])
		h.session = nil
		without(extKeyShare, extPSKModes, extSupportedVersions)(h)
	}
}

// only13 offers nothing but TLS 1.3.
func only13(h *hello) {
	h.suites = slices.Clone(usualSuites[:3])
	with(extSupportedVersions, versions(versionTLS13))(h)
}

// groups offers these groups, with shares for those that have one.
//
//go:noinline
func groups(list []uint16, keys ...share) change {
	return func(h *hello) {
		with(extGroups, list16(list...))(h)
		with(extKeyShare, shares(keys...))(h)
	}
}

// quantum offers X25519MLKEM768 with a share that is right.
//
//go:noinline
func quantum(alone bool) change {
	return func(h *hello) {
		key, _ := mlkem.GenerateKey768() // never fails
		pq := share{groupPQ, append(key.EncapsulationKey().Bytes(), h.private.PublicKey().Bytes()...)}
		if alone {
			groups([]uint16{groupPQ}, pq)(h)
			return
		}
		groups([]uint16{groupPQ, groupX25519, groupP256, groupP384}, pq, share{groupX25519, h.private.PublicKey().Bytes()})(h)
	}
}

func p256() share {
	k, _ := ecdh.P256().GenerateKey(nil) // never fails
	return share{groupP256, k.PublicKey().Bytes()}
}

// grease puts reserved values in the lists, RFC 8701.
func grease(h *hello) {
	const a, b = 0x3a3a, 0xdada
	h.suites = append([]uint16{a}, h.suites...)
	ahead(a, nil)(h)
	for i := range h.exts {
		e := &h.exts[i]
		switch e.typ {
		case extGroups:
			e.body = grow16(e.body, b)
		case extSupportedVersions:
			e.body = append([]byte{e.body[0] + 2, 0x3a, 0x3a}, e.body[1:]...)
		case extKeyShare:
			e.body = vector16(append([]byte{0xda, 0xda, 0, 1, 0}, e.body[2:]...))
		}
	}
	also(b, []byte{0})(h)
}

// grow16 puts a value at the head of a list.
func grow16(body []byte, v uint16) []byte {
	return vector16(append(binary.BigEndian.AppendUint16(nil, v), body[2:]...))
}

// padTo pads the message so that the record is n bytes long.
//
//go:noinline
func padTo(n int) change {
	return func(h *hello) {
		if need := n - recordHeaderLen - len(h.message()) - 4; need >= 0 {
			also(extPadding, make([]byte, need))(h)
		}
	}
}

// mangled changes the finished message.
//
//go:noinline
func mangled(f func([]byte) []byte) change {
	return func(h *hello) { h.mangle = append(h.mangle, f) }
}
