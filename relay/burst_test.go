package relay_test

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"relay/relay"
	"relay/transport"
)

// A source that opens connections in a bunch has the first of them, and more as
// time goes on; others have theirs.
func TestBurst(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.Burst = relay.Burst{Size: 24, PerSecond: 2} }, func(r *rig) {
		served := func(ip string, n int) (ok int) {
			for range n {
				c := r.dialFrom(ip)
				if _, err := io.WriteString(c, "go - "+targetAddr+"\n"); err == nil {
					if _, err := io.ReadFull(c, make([]byte, 3)); err == nil {
						ok++
					}
				}
				_ = c.Close()
			}
			return ok
		}
		go func() {
			for {
				c, err := r.target.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		for i, tt := range []struct {
			wait time.Duration
			ip   string
			want int
		}{{0, clientIP, 24}, {0, clientIP, 0}, {0, "198.51.100.8", 24}, {5 * time.Second, clientIP, 10}, {time.Hour, clientIP, 24}} {
			time.Sleep(tt.wait)
			if got := served(tt.ip, 30); got != tt.want {
				t.Errorf("step %d, 30 connections of %s: got %d served, want %d", i, tt.ip, got, tt.want)
			}
		}
	})
}

// More sources than there is memory for are let in, and forgotten once they
// have been quiet.
func TestBurstManySources(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.Burst = relay.Burst{Size: 24, PerSecond: 24} }, func(r *rig) {
		for i := range 1<<16 + 1000 {
			if i%16384 == 0 {
				time.Sleep(10 * time.Second)
			}
			c, err := r.net.DialFrom(r.t.Context(), netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), listenAddr)
			if err != nil {
				t.Fatal(err)
			}
			_ = transport.Abort(c)
		}
		c := r.dialFrom("192.0.2.1")
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		_ = c.Close()
		far, err := r.target.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
	})
}
