package probe

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Slow probes leave a server waiting in every state that it can be in, and look
// at when and how it gives up. All of them run at the same time, and none takes
// longer than Options.Deadline.

func slowProbes() (list []Probe) {
	list = append(list, waitOpenings()...)
	list = append(list, waitHandshakes()...)
	list = append(list, waitRequests()...)
	list = append(list, waitFrames()...)
	list = append(list, drips()...)
	list = append(list, deafProbes()...)
	return append(list, lateProbes()...)
}

// wait is a probe that says something and then nothing until the end.
//
//go:noinline
func wait(name, sends string, run func(*conn)) Probe {
	return Probe{Name: "wait-" + name, Sends: sends + ", then silence until the end", Slow: true, run: run}
}

// waitOpenings end before a server has answered anything.
func waitOpenings() []Probe {
	cut := func(name, sends string, n int) Probe {
		return wait(name, sends, func(c *conn) { c.send(c.hello().records()[:n]) })
	}
	list := []Probe{wait("nothing", "nothing", func(*conn) {})}
	for _, n := range []int{1, 5, 64, 1000} {
		list = append(list, wait("junk-"+strconv.Itoa(n), plural(n, "random byte"), func(c *conn) { c.send(noise(n)) }))
	}
	for _, n := range []int{1, 5, 6, 64} {
		list = append(list, cut("hello-"+strconv.Itoa(n), plural(n, "byte")+" of a ClientHello", n))
	}
	return append(list,
		wait("hello-most", "a ClientHello less its last byte", func(c *conn) {
			b := c.hello().records()
			c.send(b[:len(b)-1])
		}),
		wait("record-16384", "the header of a record of 16384 bytes and a ClientHello", func(c *conn) {
			c.send(recordHeader(recHandshake, 0x0301, 16384), c.hello().message())
		}),
		wait("hello-late", "nothing for 3 s, a ClientHello", func(c *conn) {
			c.pause(3 * time.Second)
			c.send(c.hello().records())
		}),
		wait("plain", "GET / in the clear without an end", func(c *conn) { c.send([]byte("GET / HTTP/1.1\r\nHost: " + c.host + "\r\n")) }),
		wait("g", "the letter G", func(c *conn) { c.send([]byte("G")) }),
		wait("fin", "FIN", func(c *conn) { c.finish() }),
		wait("junk-64-fin", "64 random bytes and FIN", func(c *conn) {
			c.send(noise(64))
			c.finish()
		}),
		wait("hello-64-fin", "64 bytes of a ClientHello and FIN", func(c *conn) {
			c.send(c.hello().records()[:64])
			c.finish()
		}))
}

// waitHandshakes end before a handshake does.
func waitHandshakes() []Probe {
	answered := func(name, sends string, then func(c *conn)) Probe {
		return wait(name, "a ClientHello; after the answer "+sends, func(c *conn) {
			c.send(c.hello().records())
			if c.answer(0) {
				then(c)
			}
		})
	}
	return []Probe{
		wait("hello", "a ClientHello", func(c *conn) { c.send(c.hello().records()) }),
		wait("hello-12", "a ClientHello of TLS 1.2", func(c *conn) { c.send(c.hello(old(0x0303)).records()) }),
		wait("hello-retry", "a ClientHello without a share", func(c *conn) { c.send(c.hello(with(extKeyShare, shares())).records()) }),
		wait("telegram", "Telegram's disguise, digest wrong", func(c *conn) { c.send(c.hello(grease, padTo(517)).records()) }),
		wait("telegram-pq", "Telegram's disguise of 2026, digest wrong", func(c *conn) { c.send(c.hello(chrome, padTo(1800)).records()) }),
		{
			Name: "wait-replay", Sends: "the recorded ClientHello, then silence until the end",
			Slow: true, replays: true, run: func(c *conn) { c.send(c.recorded) },
		},
		answered("hello-fin", "FIN", func(c *conn) { c.finish() }),
		answered("hello-ccs", "a ChangeCipherSpec", func(c *conn) { c.send(ccs(1)) }),
		answered("hello-half", "the first half of a Finished", func(c *conn) {
			b := plainRecord(recData, 0x0303, noise(53))
			c.send(ccs(1), b[:len(b)/2])
		}),
	}
}

// waitRequests end somewhere in HTTP/1.1.
func waitRequests() []Probe {
	list := []Probe{
		wait("handshake", "a handshake for HTTP/1.1", func(c *conn) { c.secure("http/1.1") }),
		wait("handshake-12", "a handshake of TLS 1.2", func(c *conn) { c.complete12(alpn("http/1.1")) }),
		wait("handshake-fin", "a handshake and FIN", func(c *conn) {
			if c.secure("http/1.1") {
				c.finish()
			}
		}),
		wait("handshake-header", "a handshake, the header of a record and 10 bytes of it", func(c *conn) {
			if c.secure("http/1.1") {
				c.send(recordHeader(recData, 0x0303, 300), noise(10))
			}
		}),
		wait("get-fin", "a handshake, GET / and FIN", func(c *conn) {
			if c.secure("http/1.1") && c.say(c.request(getRoot)) {
				c.finish()
			}
		}),
		wait("get-notify", "a handshake, GET / and close_notify", func(c *conn) {
			if c.secure("http/1.1") && c.say(c.request(getRoot)) {
				c.send(c.tls.seal(recAlert, []byte{1, 0}))
			}
		}),
		wait("get-again", "a handshake, GET /, 20 s, GET /", func(c *conn) {
			if c.secure("http/1.1") && c.say(c.request(getRoot)) && c.pause(20*time.Second) {
				c.say(c.request(getRoot))
			}
		}),
	}
	for _, r := range [][3]string{
		{"get", "GET /", getRoot},
		{"get-half", "half of GET /", "GET / HTTP/1.1\r\n"},
		{"get-line", "a part of the first line", "GET /"},
		{"post", "POST / without its body", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 50\r\n\r\n"},
		{"post-half", "POST / with half of its body", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 50\r\n\r\nhello"},
		{"post-chunk", "POST / with half of a chunk", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nhello"},
		{"post-expect", "POST / that expects 100-continue", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n"},
	} {
		list = append(list, wait(r[0], "a handshake, "+r[1], func(c *conn) {
			if c.secure("http/1.1") {
				c.say(c.request(r[2]))
			}
		}))
	}
	return list
}

// waitFrames end somewhere in HTTP/2.
func waitFrames() []Probe {
	list := []Probe{
		wait("handshake-h2", "a handshake for HTTP/2", func(c *conn) { c.secure("h2") }),
		wait("h2-preface", "a handshake for HTTP/2, the preface", func(c *conn) {
			if c.secure("h2") && c.quiet() {
				c.say([]byte(h2Preface))
			}
		}),
		wait("h2-fin", "a handshake for HTTP/2, preface, SETTINGS, GET / and FIN", func(c *conn) {
			if c.secure("h2") && c.quiet() && c.begin() && c.say(c.get(1, "/")) {
				c.finish()
			}
		}),
	}
	for _, r := range []h2Row{
		{"opening", "nothing more", fixed()},
		{"get", "GET /", func(c *conn) []byte { return c.get(1, "/") }},
		{"frame", "the header of a frame and a byte of it", fixed(frame(frameData, 0, 1, noise(100))[:frameHeaderLen+1])},
		{"headers", "HEADERS without an end", func(c *conn) []byte {
			return frame(frameHeaders, flagEndStream, 1, c.fields("GET", "/"))
		}},
		{"post", "POST / without its body", func(c *conn) []byte {
			return frame(frameHeaders, flagEndHeaders, 1, c.fields("POST", "/", "content-length", "50"))
		}},
		{"post-half", "POST / with half of its body", func(c *conn) []byte {
			return join(frame(frameHeaders, flagEndHeaders, 1, c.fields("POST", "/", "content-length", "50")), frame(frameData, 0, 1, noise(25)))
		}},
		{"window-0", "GET / with a window of 0", func(c *conn) []byte {
			return join(frame(frameSettings, 0, 0, setting(4, 0)), c.get(1, "/"))
		}},
		{"goaway", "GOAWAY", fixed(frame(frameGoAway, 0, 0, u32(0), u32(0)))},
	} {
		list = append(list, wait("h2-"+r.name, "a handshake for HTTP/2, preface and SETTINGS, "+r.sends, func(c *conn) {
			if c.secure("h2") && c.quiet() && c.begin() {
				c.say(r.bytes(c))
			}
		}))
	}
	return list
}

// drips never fall silent, or not before the server's patience should be over.
func drips() []Probe {
	drip := func(name, sends string, run func(*conn)) Probe {
		return Probe{Name: "drip-" + name, Sends: sends, Slow: true, run: run}
	}
	plain := func(c *conn) []byte {
		return []byte("GET / HTTP/1.1\r\nHost: " + c.host + "\r\nX: " + string(repeat(100, []byte{'x'})))
	}
	return []Probe{
		drip("hello", "a ClientHello, a byte a second", func(c *conn) { c.pace(c.hello().records(), 1, time.Second) }),
		drip("hello-30", "a ClientHello byte by byte within 30 s", func(c *conn) {
			b := c.hello().records()
			c.pace(b, 1, 30*time.Second/time.Duration(len(b)))
		}),
		drip("junk", "random bytes, a byte a second", func(c *conn) { c.pace(noise(200), 1, time.Second) }),
		drip("plain", "GET / in the clear, a byte a second", func(c *conn) { c.pace(plain(c), 1, time.Second) }),
		drip("get", "a handshake, GET /, a byte a second", func(c *conn) {
			if c.secure("http/1.1") {
				c.sayEach(plain(c), time.Second)
			}
		}),
		drip("post", "a handshake, POST /, its body a byte a second", func(c *conn) {
			if c.secure("http/1.1") && c.say(c.request("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 500\r\n\r\n")) {
				c.sayEach(noise(500), time.Second)
			}
		}),
		drip("empty", "a handshake, empty records every 10 s", func(c *conn) {
			for ok := c.secure("http/1.1"); ok; ok = c.pause(10 * time.Second) {
				c.send(c.tls.seal(recData, nil))
			}
		}),
		drip("h2-ping", "a handshake for HTTP/2, preface and SETTINGS, PING every 5 s", func(c *conn) {
			for ok := c.secure("h2") && c.quiet() && c.begin(); ok; ok = c.pause(5 * time.Second) {
				c.say(frame(framePing, 0, 0, noise(8)))
			}
		}),
	}
}

// deafProbes ask for more than fits on the way and do not read it: a server gives
// up, or does not, by what is left in its hands. A relay in front of it must not
// have room for the rest. It takes a page of some 4 kB or more to find out.
func deafProbes() []Probe {
	const requests = 900 // less than a server answers on one connection
	return []Probe{{
		Name: "wait-deaf", Sends: "a handshake, GET / 900 times, reading nothing for 65 s",
		Slow: true, narrow: true, run: func(c *conn) {
			if c.secure("http/1.1") && c.quiet() {
				c.deafen()
				c.say(bytes.Repeat(c.request(getRoot), requests))
				c.pause(65 * time.Second)
			}
		},
	}}
}

// lateProbes end their half long after the server: a system forgets a connection
// that its program has closed, Linux after a minute, and then answers with a
// reset. One that some program still holds is not forgotten.
func lateProbes() (list []Probe) {
	if !canTell {
		return nil
	}
	for _, r := range []struct {
		name, sends string
		run         func(c *conn)
	}{
		{"junk", "64 random bytes", func(c *conn) { c.send(noise(64)) }},
		{"plain", "GET / in the clear", func(c *conn) { c.send(c.request(getRoot)) }},
		{"plain-more", "GET / in the clear and 1000 random bytes", func(c *conn) { c.send(c.request(getRoot), noise(1000)) }},
		{"get", "a handshake, GET / with Connection: close", func(c *conn) {
			if c.secure("http/1.1") {
				c.say(c.request("GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"))
			}
		}},
	} {
		for _, d := range []time.Duration{50 * time.Second, 75 * time.Second} {
			list = append(list, Probe{
				Name: fmt.Sprintf("late-%s-%.0f", r.name, d.Seconds()), Sends: fmt.Sprintf("%s, FIN %v after the server's", r.sends, d),
				Slow: true, run: func(c *conn) {
					r.run(c)
					c.outstay(d)
				},
			})
		}
	}
	return list
}

// outstay ends our half some time after the server has ended its own.
func (c *conn) outstay(d time.Duration) {
	for c.pause(c.deadline) {
	}
	c.mu.Lock()
	orderly := c.end == endFIN
	c.mu.Unlock()
	if !orderly || c.deadline-time.Since(c.start) < d || !c.sleep(d) {
		return
	}
	c.after = "takes our end"
	_ = c.tcp.CloseWrite()
	c.sleep(max(300*time.Millisecond, 4*c.trip))
	if c.told() != nil {
		c.after = "RST to our end"
	}
}

// sleep waits, whatever happens on the connection, and says whether there was time.
func (c *conn) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// sayEach sends each byte in a record of its own, with a pause after it.
func (c *conn) sayEach(b []byte, pause time.Duration) {
	for i := range b {
		if !c.say(b[i:i+1]) || !c.pause(pause) {
			return
		}
	}
}
