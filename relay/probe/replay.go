package probe

import "bytes"

// replayProbes send what somebody has recorded of a user: a ClientHello that
// proved a secret, and is old by now or known to the relay.
func replayProbes() []Probe {
	replay := func(name, sends string, run func(c *conn, hello []byte)) Probe {
		return Probe{Name: "replay-" + name, Sends: "the recorded ClientHello" + sends, replays: true, run: func(c *conn) {
			run(c, c.recorded)
		}}
	}
	return []Probe{
		replay("hello", "", func(c *conn, hello []byte) { c.send(hello) }),
		replay("twice", " twice in one write", func(c *conn, hello []byte) { c.send(hello, hello) }),
		replay("bytewise", " byte by byte, 2 ms apart", func(c *conn, hello []byte) { c.pace(hello, 1, shortPause) }),
		replay("late", ", 400 ms before its last byte", func(c *conn, hello []byte) {
			last := len(hello) - 1
			c.send(hello[:last])
			c.pause(verdictPause)
			c.send(hello[last:])
		}),
		replay("changed", ", its last byte changed", func(c *conn, hello []byte) {
			b := bytes.Clone(hello)
			b[len(b)-1] ^= 1
			c.send(b)
		}),
		replay("fin", " and FIN", func(c *conn, hello []byte) {
			c.send(hello)
			c.finish()
		}),
		replay("data", "; after the answer a ChangeCipherSpec and 164 bytes as Telegram's disguise does", func(c *conn, hello []byte) {
			c.send(hello)
			c.answer(0)
			c.send(ccs(1), plainRecord(recData, 0x0303, noise(164)))
		}),
	}
}
