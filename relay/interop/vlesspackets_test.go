package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"testing"
	"time"
)

// vlessPackets are the ways of datagrams, and streams beside them where a stream
// of Mux.Cool takes both.
var vlessPackets = []struct {
	vlessWay
	targets int // of one association; VLESS alone has one
}{
	{vlessWay{name: "xray packet-up plain", link: "xhttp", changes: map[string]string{"mode": "packet-up"}, start: xrayClient}, 1},
	{vlessWay{name: "xray stream-one xudp", link: "xhttp", changes: map[string]string{"mode": "stream-one"}, start: xrayClient, packets: "xudp", sample: true}, 3},
	{vlessWay{name: "xray ws plain", link: "ws", start: xrayClient}, 1},
	{vlessWay{name: "xray ws xudp", link: "ws", start: xrayClient, packets: "xudp"}, 3},
	{vlessWay{name: "xray ws early xudp", link: "ws", changes: ed2048, start: xrayClient, packets: "xudp"}, 3},
	{vlessWay{name: "xray ws mux", link: "ws", start: xrayClient, packets: "xudp", mux: muxStreams, sample: true}, 3},
	{vlessWay{name: "xray xhttp mux", link: "xhttp", start: xrayClient, packets: "xudp", mux: muxStreams}, 3},
	{vlessWay{name: "sing-box ws plain", link: "ws", start: singClient}, 1},
	{vlessWay{name: "sing-box ws xudp", link: "ws", start: singClient, packets: "xudp"}, 3},
}

// muxStreams is what v2rayNG's setting begins with.
const muxStreams = 8

// TestVLESSPackets sends datagrams through all of them.
func TestVLESSPackets(t *testing.T) {
	integration(t)
	for _, server := range vlessServers {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			for _, w := range vlessPackets {
				if s.sample && !w.sample {
					continue
				}
				t.Run(w.name, func(t *testing.T) {
					via := w.start(t, s.links[w.link].with(w.changes), w.vlessWay)
					if err := w.try(t, func() error { return packetTrips(t, via, w.targets) }); err != nil {
						t.Error(err)
					}
					if w.mux > 0 {
						s.checkMux(t, w.vlessWay, via)
					}
				})
			}
		})
	}
}

// checkMux has more streams than one of Mux.Cool takes, some with a long answer.
func (s *vlessServer) checkMux(t *testing.T, w vlessWay, via *url.URL) {
	t.Helper()
	u := &vlessUse{server: s, way: w, via: via}
	why, known := s.lacks[w.name+"/streams"]
	if known {
		if err := refusedAt(via, listen(t, echo)); err != nil {
			t.Errorf("%s %s: %v: want the refusal, or it off the list", s.name, why, err)
		}
		return
	}
	for _, c := range []vlessScenario{{"together", together}, {"https", secureInside}, {"origin ends", originEnds}} {
		if err := c.run(t, u); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// packetSizes go up to what QUIC sends, and one that some networks fragment.
var packetSizes = []int{1, 100, 600, 1252, 1472, 4000}

// packetTrips sends datagrams to each of n targets and wants each back, from
// whom it was sent to.
func packetTrips(t *testing.T, via *url.URL, n int) error {
	a, err := tryAssociate(via)
	if err != nil {
		return err
	}
	defer a.Close()
	var targets []netip.AddrPort
	for range n {
		targets = append(targets, echoPackets(t))
	}
	if err := a.ready(targets[0]); err != nil {
		return err
	}
	for round := range 10 {
		for i, size := range packetSizes {
			sent := patternBytes(int64(size))
			sent[0] = byte(round*len(packetSizes) + i)
			to := targets[(round+i)%n]
			if _, err := a.udp.Write(datagram(to, string(sent))); err != nil {
				return err
			}
			from, got, err := a.receive(10 * time.Second)
			switch {
			case err != nil:
				return fmt.Errorf("datagram of %d bytes in round %d: %w", size, round, err)
			case !bytes.Equal(got, sent):
				return fmt.Errorf("datagram in round %d: got %d bytes, want the %d sent", round, len(got), size)
			case from != to:
				return fmt.Errorf("answer: got one from %v, want one from %v", from, to)
			}
		}
	}
	return nil
}

// echoPackets answers each datagram with itself.
func echoPackets(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the socket
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// ready waits for an answer. A client may listen for datagrams a moment after it does
// for connections; until then they are refused.
func (a *association) ready(to netip.AddrPort) error {
	for limit := time.Now().Add(peerLimit); ; time.Sleep(20 * time.Millisecond) {
		_, err := a.udp.Write(datagram(to, "ready?"))
		if err == nil {
			_, _, err = a.receive(10 * time.Second)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(limit) {
			return err
		}
	}
}

// receive is the next datagram, and whom it says to be from.
func (a *association) receive(limit time.Duration) (netip.AddrPort, []byte, error) {
	_ = a.udp.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, 64<<10)
	n, err := a.udp.Read(b)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	if n < 10 || [4]byte(b[:4]) != [4]byte{0, 0, 0, 1} {
		return netip.AddrPort{}, nil, errors.New("header: want 00 00 00 01 and an IPv4 address")
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[8:])), b[10:n], nil
}
