package socks5_test

import "testing"

// BenchmarkDatagram is one datagram to an echo and back, with everything on one
// machine: half of the system calls are the client's and the echo's.
func BenchmarkDatagram(b *testing.B) {
	r := startRelay(b, "127.0.0.1:0")
	c := r.associate(nowhere)
	to := echo(b, "127.0.0.1:0")
	said := datagram(to, string(make([]byte, 1200)))
	into := make([]byte, 2000)
	b.ReportAllocs()
	b.SetBytes(1200)
	for b.Loop() {
		if _, err := c.udp.WriteToUDPAddrPort(said, c.relay); err != nil {
			b.Fatal(err)
		}
		if n, _, err := c.udp.ReadFromUDPAddrPort(into); err != nil || n != len(said) {
			b.Fatal(n, err)
		}
	}
}
