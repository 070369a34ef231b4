package probe

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Pauses between pieces: long enough that a server reads each alone.
const (
	shortPause = 2 * time.Millisecond
	longPause  = 150 * time.Millisecond
	// verdictPause is longer than a relay waits before it decides on what it has.
	verdictPause = 400 * time.Millisecond
)

//go:noinline
func dashed(s string) string { return strings.ReplaceAll(s, " ", "-") }

// splitProbes send one good hello in pieces.
func splitProbes() []Probe { return append(recordsProbes(), pauseProbes()...) }

// recordsProbes send it in several records.
func recordsProbes() (list []Probe) {
	add := func(name, sends string, run func(*conn)) {
		list = append(list, Probe{Name: name, Sends: sends, run: run})
	}
	for n := 2; n <= 10; n++ {
		add(fmt.Sprintf("records-%d", n), fmt.Sprintf("a ClientHello in %d records", n),
			func(c *conn) { c.send(c.hello().inRecords(n)) })
	}
	add("records-pq-3", "a ClientHello of 1.7 kB in 3 records", func(c *conn) { c.send(c.hello(quantum(false)).inRecords(3)) })
	add("records-1-byte", "a ClientHello in records of a byte", func(c *conn) {
		h := c.hello()
		c.send(h.inRecords(len(h.message())))
	})
	add("records-apart", "a ClientHello in 2 records, 150 ms apart", func(c *conn) {
		h := c.hello()
		m := h.message()
		c.send(plainRecord(recHandshake, h.record, m[:100]))
		c.pause(longPause)
		c.send(plainRecord(recHandshake, h.record, m[100:]))
	})
	add("records-first-4", "the message header in a record of its own", func(c *conn) {
		h := c.hello()
		m := h.message()
		c.send(plainRecord(recHandshake, h.record, m[:4]), plainRecord(recHandshake, h.record, m[4:]))
	})
	add("records-mixed", "a ClientHello in 2 records of different versions", func(c *conn) {
		m := c.hello().message()
		c.send(plainRecord(recHandshake, 0x0301, m[:60]), plainRecord(recHandshake, 0x0303, m[60:]))
	})
	add("records-alert", "an alert between the two records of a ClientHello", func(c *conn) {
		m := c.hello().message()
		c.send(plainRecord(recHandshake, 0x0301, m[:60]), alert(1, 90), plainRecord(recHandshake, 0x0301, m[60:]))
	})
	add("records-empty", "an empty record between the two records of a ClientHello", func(c *conn) {
		m := c.hello().message()
		c.send(plainRecord(recHandshake, 0x0301, m[:60]), plainRecord(recHandshake, 0x0301, nil), plainRecord(recHandshake, 0x0301, m[60:]))
	})
	return list
}

// pauseProbes send one record with pauses in it.
func pauseProbes() (list []Probe) {
	add := func(name, sends string, run func(*conn)) {
		list = append(list, Probe{Name: name, Sends: sends, run: run})
	}
	for _, n := range []int{1, 2, 3, 5, 6, 9, 10, 11, 43, 44, 63, 64, 65, 100, 200} {
		add(fmt.Sprintf("pause-at-%d", n), fmt.Sprintf("%s of a ClientHello, 150 ms, the rest", plural(n, "byte")), func(c *conn) {
			b := c.hello().records()
			c.send(b[:n])
			c.pause(longPause)
			c.send(b[n:])
		})
	}
	for _, n := range []int{1, 5, 64} {
		add(fmt.Sprintf("long-pause-at-%d", n), fmt.Sprintf("%s of a ClientHello, 400 ms, the rest", plural(n, "byte")), func(c *conn) {
			b := c.hello().records()
			c.send(b[:n])
			c.pause(verdictPause)
			c.send(b[n:])
		})
	}
	add("late", "a ClientHello 400 ms after connecting", func(c *conn) {
		c.pause(verdictPause)
		c.send(c.hello().records())
	})
	add("bytewise", "a ClientHello byte by byte, 2 ms apart", func(c *conn) { c.pace(c.hello().records(), 1, shortPause) })
	add("bytewise-telegram", "Telegram's disguise, digest wrong, byte by byte", func(c *conn) {
		c.pace(c.hello(grease, padTo(517)).records(), 1, shortPause)
	})
	add("pieces-7", "a ClientHello 7 bytes at a time", func(c *conn) { c.pace(c.hello().records(), 7, shortPause) })
	add("pieces-pq", "a ClientHello of 1.8 kB, 512 bytes at a time, 20 ms apart", func(c *conn) {
		c.pace(c.hello(chrome).records(), 512, 20*time.Millisecond)
	})
	return list
}

// aroundProbes send something after a good hello, or in place of half of it.
func aroundProbes() []Probe {
	return slices.Concat(afterHellos(), afterHelloEnds(), halfHellos())
}

// afterHellos send records behind a hello.
func afterHellos() (list []Probe) {
	add := func(name, sends string, run func(*conn)) {
		list = append(list, Probe{Name: name, Sends: sends, run: run})
	}
	add("hello-twice", "two ClientHellos in one write", func(c *conn) { c.send(c.hello().records(), c.hello().records()) })
	add("hello-again", "a ClientHello, 150 ms, another", func(c *conn) {
		c.send(c.hello().records())
		c.pause(longPause)
		c.send(c.hello().records())
	})
	add("hello-replayed", "the same ClientHello twice in one write", func(c *conn) {
		b := c.hello().records()
		c.send(b, b)
	})
	replayed := newHello("", chrome)
	replayed.private = nil
	add("hello-fixed", "a ClientHello that is the same in every run", func(c *conn) { c.send(replayed.records()) })
	for _, n := range []int{1, 5, 32, 600} {
		add(fmt.Sprintf("hello-junk-%d", n), "a ClientHello and "+plural(n, "byte")+" of junk", func(c *conn) {
			c.send(c.hello().records(), noise(n))
		})
	}
	for _, a := range [][2]byte{{1, 0}, {2, 0}, {1, 90}, {2, 40}, {2, 80}, {1, 100}, {3, 3}} {
		add(fmt.Sprintf("hello-alert-%d-%d", a[0], a[1]), fmt.Sprintf("a ClientHello and an alert %d,%d", a[0], a[1]), func(c *conn) {
			c.send(c.hello().records(), alert(a[0], a[1]))
		})
	}
	for _, n := range []int{1, 2, 16, 17, 18, 32, 33, 34} {
		add(fmt.Sprintf("hello-ccs-%d", n), fmt.Sprintf("a ClientHello and %d ChangeCipherSpecs", n), func(c *conn) {
			c.send(c.hello().records(), ccs(n))
		})
	}
	add("hello-ccs-12", "a ClientHello of TLS 1.2 and a ChangeCipherSpec", func(c *conn) { c.send(c.hello(old(0x0303)).records(), ccs(1)) })
	add("hello-data", "a ClientHello and 100 bytes of application data", func(c *conn) {
		c.send(c.hello().records(), plainRecord(recData, 0x0303, noise(100)))
	})
	add("hello-early", "early_data, a junk PSK, and 300 bytes of early data", func(c *conn) {
		h := c.hello(also(extEarly, nil), also(extPSK, pskOf(noise(192), noise(32))))
		c.send(h.records(), plainRecord(recData, 0x0303, noise(300)))
	})
	add("hello-early-much", "early_data, a junk PSK, and 40 kB of early data", func(c *conn) {
		h := c.hello(also(extEarly, nil), also(extPSK, pskOf(noise(192), noise(32))))
		b := h.records()
		for range 10 {
			b = append(b, plainRecord(recData, 0x0303, noise(4000))...)
		}
		c.send(b)
	})
	return list
}

// afterHelloEnds end after a hello, or leave TLS.
func afterHelloEnds() (list []Probe) {
	add := func(name, sends string, run func(*conn)) {
		list = append(list, Probe{Name: name, Sends: sends, run: run})
	}
	add("hello-fin", "a ClientHello and FIN", func(c *conn) {
		c.send(c.hello().records())
		c.finish()
	})
	add("hello-12-fin", "a ClientHello of TLS 1.2 and FIN", func(c *conn) {
		c.send(c.hello(old(0x0303)).records())
		c.finish()
	})
	add("hello-rst", "a ClientHello, 150 ms, RST", func(c *conn) {
		c.send(c.hello().records())
		c.pause(longPause)
		c.abort()
	})
	add("hello-http", "a ClientHello and GET / in the clear", func(c *conn) {
		c.send(c.hello().records(), []byte("GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n"))
	})
	return list
}

// halfHellos end in the middle of one, or go on with something else.
func halfHellos() (list []Probe) {
	add := func(name, sends string, run func(*conn)) {
		list = append(list, Probe{Name: name, Sends: sends, run: run})
	}
	for _, n := range []int{1, 3, 4, 5, 6, 9, 11, 43, 76, 100, 200} {
		add(fmt.Sprintf("half-hello-%d-fin", n), plural(n, "byte")+" of a ClientHello and FIN", func(c *conn) {
			c.send(c.hello().records()[:n])
			c.finish()
		})
	}
	add("half-hello-fin-late", "100 bytes of a ClientHello, 400 ms, FIN", func(c *conn) {
		c.send(c.hello().records()[:100])
		c.pause(verdictPause)
		c.finish()
	})
	add("half-hello-junk", "100 bytes of a ClientHello and junk in place of the rest", func(c *conn) {
		b := c.hello().records()
		c.send(b[:100], noise(len(b)-100))
	})
	add("half-hello-hello", "100 bytes of a ClientHello and a whole one", func(c *conn) {
		c.send(c.hello().records()[:100], c.hello().records())
	})
	return list
}
