package probe

// What TCP itself shows of a server is its kernel's, and so the relay's, wherever
// the cover is: TTL, MSS, windows, time stamps, the answer to a SYN. So is the
// queue of those who wait to be accepted, and whoever closes at once is told
// nothing. What is here is what a program has a say in: how it ends, and what it
// does about urgent data; wait-deaf is about a client that does not read.

func tcpProbes() []Probe {
	list := []Probe{
		{Name: "tcp-fin", Sends: "FIN", run: func(c *conn) { c.finish() }},
		{Name: "tcp-fin-late", Sends: "nothing for 400 ms, FIN", run: func(c *conn) {
			c.pause(verdictPause)
			c.finish()
		}},
		talk("tcp-fin-half", "a handshake; 20 bytes of GET / and FIN", func(c *conn) {
			c.say(c.request(getRoot)[:20])
			c.finish()
		}),
		{Name: "tcp-flood", Sends: "a ClientHello and 300 kB of junk", run: func(c *conn) { c.send(c.hello().records(), noise(300_000)) }},
	}
	return append(list, urgentProbes()...)
}

// urgentProbes send a byte out of band, RFC 6093: a server that does not ask for
// it never sees it, and the bytes around it close up.
func urgentProbes() []Probe {
	if !canUrge {
		return nil
	}
	return []Probe{
		{Name: "tcp-urgent", Sends: "an urgent byte", run: func(c *conn) { c.urge() }},
		{Name: "tcp-urgent-fin", Sends: "an urgent byte and FIN", run: func(c *conn) {
			c.urge()
			c.finish()
		}},
		{Name: "tcp-urgent-hello", Sends: "an urgent byte and a ClientHello", run: func(c *conn) {
			c.urge()
			c.send(c.hello().records())
		}},
		{Name: "tcp-urgent-inside", Sends: "a ClientHello with an urgent byte in the middle", run: func(c *conn) {
			b := c.hello().records()
			c.send(b[:100])
			c.urge()
			c.send(b[100:])
		}},
		{Name: "tcp-urgent-late", Sends: "100 bytes of a ClientHello, 400 ms, an urgent byte, 400 ms, the rest", run: func(c *conn) {
			b := c.hello().records()
			c.send(b[:100])
			c.pause(verdictPause)
			c.urge()
			c.pause(verdictPause)
			c.send(b[100:])
		}},
		{Name: "tcp-urgent-plain", Sends: "GET / in the clear with an urgent byte in the middle", run: func(c *conn) {
			c.send([]byte("GET / HT"))
			c.urge()
			c.send([]byte("TP/1.1\r\nHost: " + c.host + "\r\n\r\n"))
		}},
		talk("tcp-urgent-get", "a handshake; an urgent byte; GET /", func(c *conn) {
			c.urge()
			c.say(c.request(getRoot))
		}),
		talk("tcp-urgent-twice", "a handshake; GET /; after the answer an urgent byte, 150 ms, GET / again", func(c *conn) {
			n := c.received()
			c.say(c.request(getRoot))
			if c.answer(n) && c.urge() && c.pause(longPause) {
				c.say(c.request(getRoot))
			}
		}),
		talk("tcp-urgent-post", "a handshake; POST / of 100 kB with an urgent byte in the middle; GET /", func(c *conn) {
			c.say(c.request("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 100000\r\n\r\n"), noise(50_000))
			c.urge()
			c.say(noise(50_000), c.request(getRoot))
		}),
	}
}
