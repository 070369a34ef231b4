package probe

import (
	"fmt"
	"slices"
)

// brokenProbes are records that are wrong in themselves.
func brokenProbes() []Probe {
	return slices.Concat(lengthProbes(), oddRecordProbes(), brokenHellos())
}

// lengthProbes are records of lengths that are wrong or of nothing that follows.
func lengthProbes() []Probe {
	header := recordHeader
	return []Probe{
		once("record-0", "a handshake record of length 0", header(recHandshake, 0x0301, 0)),
		once("record-0-many", "50 handshake records of length 0", repeat(50, header(recHandshake, 0x0301, 0))),
		once("record-data-0", "an application data record of length 0", header(recData, 0x0303, 0)),
		once("record-16385", "a handshake record longer than allowed", plainRecord(recHandshake, 0x0301, noise(16385))),
		once("record-16640", "the header of a record of 16640 bytes", header(recHandshake, 0x0301, 16640)),
		once("record-16641", "the header of a record of 16641 bytes", header(recHandshake, 0x0301, 16641)),
		once("record-65535", "the header of a record of 65535 bytes", header(recHandshake, 0x0301, 65535)),
		once("record-20000", "a record of 20000 bytes", plainRecord(recHandshake, 0x0301, noise(20000))),
		once("header-only", "a record header and nothing else", header(recHandshake, 0x0301, 512)),
		once("header-hello", "the headers of a record and of a ClientHello", header(recHandshake, 0x0301, 512), []byte{1, 0, 1, 252}),
	}
}

// oddRecordProbes are records that cannot come first.
func oddRecordProbes() []Probe {
	return []Probe{
		once("alert-close", "close_notify", alert(1, 0)),
		once("alert-warning", "an alert 1,90", alert(1, 90)),
		once("alert-fatal", "an alert 2,40", alert(2, 40)),
		once("alert-odd", "an alert 9,99", alert(9, 99)),
		once("alert-short", "an alert of one byte", plainRecord(recAlert, 0x0303, []byte{1})),
		once("alert-long", "an alert of 20 bytes", plainRecord(recAlert, 0x0303, noise(20))),
		once("alert-many", "10 warnings", repeat(10, alert(1, 90))),
		once("ccs-first", "a ChangeCipherSpec", ccs(1)),
		once("ccs-many", "40 ChangeCipherSpecs", ccs(40)),
		once("ccs-odd", "a ChangeCipherSpec of value 2", plainRecord(recCCS, 0x0303, []byte{2})),
		once("ccs-long", "a ChangeCipherSpec of 5 bytes", plainRecord(recCCS, 0x0303, []byte{1, 1, 1, 1, 1})),
		once("data-first", "application data of 100 bytes", plainRecord(recData, 0x0303, noise(100))),
		once("data-telegram", "ChangeCipherSpec and application data of 64 bytes", ccs(1), plainRecord(recData, 0x0303, noise(64))),
		once("heartbeat", "a heartbeat request", plainRecord(24, 0x0302, []byte{1, 0x40, 0})),
		once("heartbeat-short", "a heartbeat of one byte", plainRecord(24, 0x0303, []byte{1})),
		once("type-0", "a record of type 0", plainRecord(0, 0x0303, noise(50))),
		once("type-25", "a record of type 25", plainRecord(25, 0x0303, noise(50))),
		once("type-255", "a record of type 255", plainRecord(255, 0x0303, noise(50))),
		once("handshake-1", "a handshake record of one byte", plainRecord(recHandshake, 0x0301, []byte{1})),
		once("handshake-3", "a handshake record of three bytes", plainRecord(recHandshake, 0x0301, []byte{1, 0, 0})),
		once("hello-request", "HelloRequest", plainRecord(recHandshake, 0x0303, []byte{0, 0, 0, 0})),
		once("client-key", "a ClientKeyExchange first", plainRecord(recHandshake, 0x0303, message1(msgClientKey, append([]byte{32}, noise(32)...)))),
		once("finished-first", "a Finished first", plainRecord(recHandshake, 0x0303, message1(msgFinished, noise(12)))),
		once("certificate-first", "an empty Certificate first", plainRecord(recHandshake, 0x0303, message1(msgCertificate, []byte{0, 0, 0}))),
		once("sslv2-hello", "a ClientHello of SSL 2.0", sslv2(0x0002)),
		once("sslv2-hello-10", "a ClientHello of SSL 2.0 that offers TLS 1.0", sslv2(0x0301)),
		once("sslv2-hello-12", "a ClientHello of SSL 2.0 that offers TLS 1.2", sslv2(0x0303)),
	}
}

// brokenHellos are good hellos in records that are not, or behind some.
func brokenHellos() (list []Probe) {
	for _, v := range []uint16{0x0000, 0x0200, 0x0299, 0x0400, 0x1603, 0x7f1c, 0xfeff, 0xffff} {
		list = append(list, Probe{Name: "record-version-" + hex16(v), Sends: "a ClientHello in a record of version 0x" + hex16(v), run: func(c *conn) {
			c.send(c.hello(func(h *hello) { h.record = v }).records())
		}})
	}
	for _, d := range []int{-1, 1} {
		list = append(list, Probe{
			Name:  fmt.Sprintf("record-length%+d", d),
			Sends: fmt.Sprintf("a ClientHello in a record whose length is wrong by %+d", d),
			run: func(c *conn) {
				b := c.hello().records()
				n := len(b) - recordHeaderLen + d
				b[3], b[4] = byte(n>>8), byte(n)
				c.send(b)
			},
		})
	}
	return append(list,
		Probe{Name: "alert-hello", Sends: "a warning in front of a ClientHello", run: func(c *conn) { c.send(alert(1, 90), c.hello().records()) }},
		Probe{Name: "ccs-hello", Sends: "a ChangeCipherSpec in front of a ClientHello", run: func(c *conn) { c.send(ccs(1), c.hello().records()) }},
		Probe{Name: "empty-hello", Sends: "an empty record in front of a ClientHello", run: func(c *conn) {
			c.send(recordHeader(recHandshake, 0x0301, 0), c.hello().records())
		}})
}

//go:noinline
func repeat(n int, b []byte) (out []byte) {
	for range n {
		out = append(out, b...)
	}
	return out
}

// sslv2 is a hello of SSL 2.0, RFC 5246, Appendix E.2.
func sslv2(version uint16) []byte {
	body := []byte{1, byte(version >> 8), byte(version), 0, 9, 0, 0, 0, 16, 0, 0, 0x2f, 0, 0, 0x35, 1, 0, 0x80}
	body = append(body, noise(16)...)
	return append([]byte{0x80, byte(len(body))}, body...)
}

// halfRow is what follows half of a handshake.
type halfRow struct {
	name, sends string
	run         func(c *conn)
}

func halfRows() []halfRow {
	return []halfRow{
		{"fin", "FIN", func(c *conn) { c.finish() }},
		{"rst", "RST", func(c *conn) { c.abort() }},
		{"close", "close_notify", func(c *conn) { c.send(alert(1, 0)) }},
		{"close-fin", "close_notify and FIN", func(c *conn) { c.send(alert(1, 0)); c.finish() }},
		{"alert", "an alert 2,48", func(c *conn) { c.send(alert(2, 48)) }},
		{"alert-many", "6 warnings", func(c *conn) { c.send(repeat(6, alert(1, 90))) }},
		{"junk", "64 random bytes", func(c *conn) { c.send(noise(64)) }},
		{"junk-1", "1 random byte", func(c *conn) { c.send(noise(1)) }},
		{"data", "100 bytes of application data", func(c *conn) { c.send(plainRecord(recData, 0x0303, noise(100))) }},
		{"data-53", "a ChangeCipherSpec and 53 bytes that are no Finished", func(c *conn) { c.send(ccs(1), plainRecord(recData, 0x0303, noise(53))) }},
		{"data-69", "a ChangeCipherSpec and 69 bytes that are no Finished", func(c *conn) { c.send(ccs(1), plainRecord(recData, 0x0303, noise(69))) }},
		{"data-telegram", "a ChangeCipherSpec and 164 bytes as Telegram's disguise does", func(c *conn) { c.send(ccs(1), plainRecord(recData, 0x0303, noise(164))) }},
		{"data-short", "5 bytes of application data", func(c *conn) { c.send(plainRecord(recData, 0x0303, noise(5))) }},
		{"data-16641", "a record longer than allowed", func(c *conn) { c.send(plainRecord(recData, 0x0303, noise(16641))) }},
		{"finished", "a Finished in the clear", func(c *conn) { c.send(plainRecord(recHandshake, 0x0303, message1(msgFinished, noise(32)))) }},
		{"hello", "another ClientHello", func(c *conn) { c.send(c.hello().records()) }},
		{"http", "GET / in the clear", func(c *conn) { c.send([]byte("GET / HTTP/1.1\r\n\r\n")) }},
		{"empty-data", "5 records of length 0", func(c *conn) { c.send(repeat(5, recordHeader(recData, 0x0303, 0))) }},
	}
}

// halfProbes stop in the middle of a handshake, or go on wrongly.
func halfProbes() (list []Probe) {
	hellos := []struct {
		name, word string
		changes    []change
	}{{"13", "TLS 1.3", nil}, {"12", "TLS 1.2", []change{old(0x0303)}}}
	for _, h := range hellos {
		for _, r := range halfRows() {
			list = append(list, Probe{Name: "half-" + h.name + "-" + r.name, Sends: "a ClientHello; after the answer (" + h.word + ") " + r.sends, run: func(c *conn) {
				c.send(c.hello(h.changes...).records())
				c.answer(0)
				r.run(c)
			}})
		}
	}
	for _, n := range []int{1, 16, 17, 18, 31, 32, 33, 34, 100} {
		list = append(list, Probe{Name: fmt.Sprintf("half-ccs-%d", n), Sends: fmt.Sprintf("a ClientHello; after the answer %d ChangeCipherSpecs", n), run: func(c *conn) {
			c.send(c.hello().records())
			c.answer(0)
			c.send(ccs(n))
		}})
	}
	return append(list,
		Probe{Name: "half-retry-fin", Sends: "a hello without a share; after the answer FIN", run: func(c *conn) {
			c.send(c.hello(with(extKeyShare, shares())).records())
			c.answer(0)
			c.finish()
		}},
		Probe{Name: "half-retry-same", Sends: "a hello without a share; after the answer the same hello", run: func(c *conn) {
			b := c.hello(with(extKeyShare, shares())).records()
			c.send(b)
			c.answer(0)
			c.send(b)
		}},
		Probe{Name: "half-retry-good", Sends: "a hello without a share; after the answer one with it", run: func(c *conn) {
			h := c.hello(with(extKeyShare, shares()))
			c.send(h.records())
			c.answer(0)
			with(extKeyShare, shares(share{groupX25519, h.private.PublicKey().Bytes()}))(h)
			c.send(ccs(1), h.records())
		}})
}
