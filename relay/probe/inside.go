package probe

import (
	"fmt"
	"slices"
)

// insideProbes are what only a client that has completed a handshake can do
// wrong, below HTTP.
func insideProbes() []Probe {
	list := []Probe{
		talk("inside-nothing", "a handshake and silence: which records follow it", func(*conn) {}),
		talk("inside-hello", "a handshake; a ClientHello under protection", func(c *conn) {
			c.send(c.tls.seal(recHandshake, c.hello().message()))
		}),
		talk("inside-fin", "a handshake and FIN", func(c *conn) { c.finish() }),
		talk("inside-rst", "a handshake and RST", func(c *conn) { c.pause(longPause); c.abort() }),
		talk("inside-close-fin", "a handshake; close_notify and FIN", func(c *conn) {
			c.send(c.tls.seal(recAlert, []byte{1, 0}))
			c.finish()
		}),
		talk("inside-padded", "a handshake; GET / with 4 kB of padding", func(c *conn) {
			b := append(c.request(getRoot), recData)
			c.send(c.tls.seal(0, append(b, make([]byte, 4095)...)))
		}),
	}
	for _, ask := range []byte{0, 1} {
		for _, n := range []int{1, 10, 40} {
			list = append(list, updates(n, ask))
		}
	}
	return slices.Concat(list, sealedProbes(), clearProbes(), halfFinishedProbes(), insideOld())
}

// sealedProbes are records under protection.
func sealedProbes() []Probe {
	sealed := func(name, sends string, typ byte, n int, b []byte) Probe {
		return talk("inside-"+name, "a handshake; "+sends, func(c *conn) {
			var out []byte
			for range n {
				out = append(out, c.tls.seal(typ, b)...)
			}
			c.send(out)
		})
	}
	keyUpdate := func(ask byte) []byte { return message1(msgKeyUpdate, []byte{ask}) }
	return []Probe{
		sealed("close", "close_notify", recAlert, 1, []byte{1, 0}),
		sealed("alert", "a fatal alert", recAlert, 1, []byte{2, 80}),
		sealed("cancelled", "the alert user_canceled", recAlert, 1, []byte{1, 90}),
		sealed("warnings", "6 warnings", recAlert, 6, []byte{1, 90}),
		sealed("alert-long", "an alert of 3 bytes", recAlert, 1, []byte{1, 0, 0}),
		sealed("update-2", "KeyUpdate with a value of 2", recHandshake, 1, keyUpdate(2)),
		sealed("update-long", "KeyUpdate of 2 bytes", recHandshake, 1, message1(msgKeyUpdate, []byte{0, 0})),
		sealed("finished", "a second Finished", recHandshake, 1, message1(msgFinished, noise(32))),
		sealed("ticket", "NewSessionTicket from the client", recHandshake, 1, message1(msgTicket, noise(60))),
		sealed("request", "HelloRequest", recHandshake, 1, []byte{0, 0, 0, 0}),
		sealed("unknown", "a handshake message of type 99", recHandshake, 1, message1(99, noise(4))),
		sealed("half-message", "half of a handshake message", recHandshake, 1, []byte{msgKeyUpdate, 0, 0}),
		sealed("empty-handshake", "an empty handshake record", recHandshake, 1, nil),
		sealed("ccs", "a ChangeCipherSpec under protection", recCCS, 1, []byte{1}),
		sealed("type-99", "a record of inner type 99", 99, 1, noise(8)),
		sealed("type-0", "a record of padding only", 0, 1, make([]byte, 8)),
		sealed("empty-1", "an empty record of data", recData, 1, nil),
		sealed("empty-32", "32 empty records of data", recData, 32, nil),
		sealed("empty-33", "33 empty records of data", recData, 33, nil),
		sealed("empty-100", "100 empty records of data", recData, 100, nil),
		sealed("long", "a record of 16385 bytes", recData, 1, make([]byte, 16385)),
	}
}

// clearProbes are records in the clear where there should be none.
func clearProbes() []Probe {
	clear := func(name, sends string, b []byte) Probe {
		return talk("inside-"+name, "a handshake; "+sends, func(c *conn) { c.send(b) })
	}
	return []Probe{
		clear("ccs-1", "a ChangeCipherSpec in the clear", ccs(1)),
		clear("ccs-40", "40 ChangeCipherSpecs in the clear", ccs(40)),
		clear("alert-clear", "close_notify in the clear", alert(1, 0)),
		clear("alert-fatal-clear", "a fatal alert in the clear", alert(2, 20)),
		clear("junk", "64 random bytes", noise(64)),
		clear("bad-mac", "a record that was not made with the key", plainRecord(recData, 0x0303, noise(80))),
		clear("short", "a record of 10 bytes", plainRecord(recData, 0x0303, noise(10))),
		clear("zero", "a record of length 0", recordHeader(recData, 0x0303, 0)),
		clear("header", "the header of a record", recordHeader(recData, 0x0303, 300)),
		clear("version", "a record of version 0x0301", plainRecord(recData, 0x0301, noise(80))),
	}
}

// halfFinishedProbes end a handshake with something else.
func halfFinishedProbes() []Probe {
	return []Probe{
		halfFinished("inside-bad-finished", "a wrong Finished under protection", func(s *session) []byte {
			return s.seal(recHandshake, message1(msgFinished, noise(s.hash().Size())))
		}),
		halfFinished("inside-early-close", "close_notify in place of Finished", func(s *session) []byte {
			return s.seal(recAlert, []byte{1, 0})
		}),
		halfFinished("inside-early-data", "data in place of Finished", func(s *session) []byte {
			return s.seal(recData, []byte("GET / HTTP/1.1\r\n\r\n"))
		}),
		halfFinished("inside-early-certificate", "an empty Certificate in place of Finished", func(s *session) []byte {
			return s.seal(recHandshake, message1(msgCertificate, []byte{0, 0, 0, 0}))
		}),
	}
}

// halfFinished is a handshake whose last message is something else.
func halfFinished(name, sends string, last func(*session) []byte) Probe {
	return Probe{Name: name, Sends: "a handshake with " + sends, run: func(c *conn) {
		s, err := c.flight13(c.hello(known13...))
		if err == nil {
			c.send(ccs(1), last(s))
		}
	}}
}

// updates is a handshake, n KeyUpdates and a request.
func updates(n int, ask byte) Probe {
	sends := fmt.Sprintf("a handshake; %s, GET /", plural(n, "KeyUpdate"))
	if ask == 1 {
		sends = fmt.Sprintf("a handshake; %s that ask for one, GET /", plural(n, "KeyUpdate"))
	}
	return talk(fmt.Sprintf("inside-update-%d-%d", ask, n), sends, func(c *conn) {
		s := c.tls
		if s.version != versionTLS13 {
			return
		}
		var out []byte
		for range n {
			out = append(out, s.seal(recHandshake, message1(msgKeyUpdate, []byte{ask}))...)
			s.out = s.next(s.out)
		}
		c.send(out, s.seal(recData, c.request(getRoot)))
	})
}

// insideOld are handshakes of TLS 1.2.
func insideOld() []Probe {
	talk12 := func(name, sends string, run func(c *conn)) Probe {
		return Probe{Name: "inside-12-" + name, Sends: "a handshake of TLS 1.2; " + sends, run: func(c *conn) {
			if c.complete12(alpn("http/1.1")) {
				run(c)
			}
		}}
	}
	return []Probe{
		talk12("nothing", "silence", func(*conn) {}),
		talk12("get", "GET /", func(c *conn) { c.say(c.request(getRoot)) }),
		talk12("close", "close_notify", func(c *conn) { c.send(c.tls.seal(recAlert, []byte{1, 0})) }),
		talk12("warning", "the warning no_renegotiation", func(c *conn) { c.send(c.tls.seal(recAlert, []byte{1, 100})) }),
		talk12("renegotiate", "a ClientHello under protection: renegotiation", func(c *conn) {
			c.send(c.tls.seal(recHandshake, c.hello(old(0x0303)).message()))
		}),
		talk12("request", "HelloRequest under protection", func(c *conn) { c.send(c.tls.seal(recHandshake, []byte{0, 0, 0, 0})) }),
		talk12("ccs", "a ChangeCipherSpec", func(c *conn) { c.send(c.tls.seal(recCCS, []byte{1})) }),
		talk12("junk", "a record that was not made with the key", func(c *conn) { c.send(plainRecord(recData, 0x0303, noise(80))) }),
		talk12("fin", "FIN", func(c *conn) { c.finish() }),
		talk12("empty", "40 empty records of data", func(c *conn) {
			var out []byte
			for range 40 {
				out = append(out, c.tls.seal(recData, nil)...)
			}
			c.send(out)
		}),
	}
}
