package main

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParseFloodFlags(t *testing.T) {
	s, err := parseFloodFlags(strings.Fields("-targets nginx -kinds wrong,part -connections 10 -within 100ms -hold 200ms"), io.Discard)
	if err != nil || len(s.targets) != 1 || len(s.kinds) != 2 || s.connections != 10 || s.hold != 200*time.Millisecond {
		t.Errorf("got %+v and %v, want what the flags say", s, err)
	}
	if s, err := parseFloodFlags(nil, io.Discard); err != nil || len(s.targets) != len(floodTargets) || len(s.kinds) != 4 {
		t.Errorf("no flags: got %+v and %v, want every target and kind", s, err)
	}
	for arguments, want := range map[string]string{
		"-targets caddy": "known: site", "-kinds slow": "known: silence", "-connections 0": "-connections", "now": "only flags",
		"-within 5s -hold 4s": "-hold", "-good many": "good", "-rounds 0": "-rounds",
	} {
		if _, err := parseFloodFlags(strings.Fields(arguments), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", arguments, err, want)
		}
	}
}

func TestFloodSource(t *testing.T) {
	nets, all := map[string]int{}, map[string]bool{}
	for i := range floodNets * 254 {
		a := floodSource(i)
		if !a.IsLoopback() || a[15] == 0 || a[15] == 255 {
			t.Fatalf("connection %d: got %v, want a host on loopback", i, a)
		}
		nets[a.Mask(net.CIDRMask(24, 32)).String()]++
		all[a.String()] = true
	}
	if len(nets) != floodNets || len(all) != floodNets*254 {
		t.Errorf("got %d networks and %d addresses, want %d and %d", len(nets), len(all), floodNets, floodNets*254)
	}
}

func TestFloodTexts(t *testing.T) {
	for kind, want := range map[string]int{floodSilence: 0, floodRandom: randomLength, floodPart: partLength} {
		for _, b := range (floodJob{Kind: kind}).texts() {
			if len(b) != want {
				t.Errorf("%s: got %d bytes, want %d", kind, len(b), want)
			}
		}
	}
	for _, b := range (floodJob{Kind: floodWrong}).texts() {
		if len(b) < 1000 || b[0] != 22 {
			t.Fatalf("got % .8x, %d bytes, want a hello", b, len(b))
		}
	}
}

// TestFloodJob floods a server that ends every other connection.
func TestFloodJob(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 and up are addresses of this machine on Linux only")
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const number = 20
	held := make(chan net.Conn, number)
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if i%2 == 0 {
				c.Close()
				continue
			}
			held <- c
		}
	}()
	j := floodJob{Port: portOf(l), Kind: floodSilence, Number: number, Within: 50 * time.Millisecond, Hold: 500 * time.Millisecond}
	r := j.run(t.Context())
	if r.Opened != number || r.Ended != number/2 || r.Held < number/2 {
		t.Errorf("got %+v, want %d connections, half of them ended by the server", r, number)
	}
	for range len(held) {
		(<-held).Close()
	}
}

func TestFloodRequests(t *testing.T) {
	f := &flooding{settings: floodSettings{good: 10, within: 20 * time.Millisecond}}
	n := make(chan int, 10)
	times, shaken, served := f.requests(t.Context(), func(context.Context) (time.Duration, error) {
		n <- 0
		if len(n) > 7 {
			return 0, errors.New("no")
		}
		return 3, nil
	})
	if served != 7 || len(times) != 10 {
		t.Errorf("got %d of %d served, want 7 of 10", served, len(times))
	}
	if got := [2]time.Duration{percentile(shaken, 1), percentile(shaken, 100)}; got != [2]time.Duration{3, 3} {
		t.Errorf("handshakes: got %v to %v, want 3 ns each", got[0], got[1])
	}
}

func TestPercentile(t *testing.T) {
	list := []time.Duration{5, 0, 3, 1, 4, 0, 2}
	if got := [3]time.Duration{percentile(list, 50), percentile(list, 95), percentile(nil, 50)}; got != [3]time.Duration{3, 5, 0} {
		t.Errorf("got %v, want 3, 5 and 0", got)
	}
}

func TestWriteFlood(t *testing.T) {
	var b strings.Builder
	writeFlood(&b, []*floodResult{
		{target: "site", kind: "wrong", opened: 9, held: 4, good: 3, served: 2, before: 10e6, peak: 30e6, after: 11e6},
		{target: "nginx", kind: "part", failed: "gone"},
	})
	for _, want := range []string{"| site | wrong | 9 | 4 | 0 | 2 of 3 |", "| 5000.0 | 1.10 |", "| nginx | part | failed: gone |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", b.String(), want)
		}
	}
}

func TestMiddles(t *testing.T) {
	round := func(target string, served, ms int) *floodResult {
		d := time.Duration(ms) * time.Millisecond
		return &floodResult{target: target, kind: "part", good: 9, served: served, before: int64(ms), busy: [2]time.Duration{d / 2, d}, cpu: 4 * d}
	}
	got := middles([]*floodResult{round("site", 9, 8), round("nginx", 9, 6), round("site", 5, 40), {target: "nginx", kind: "part", failed: "gone"}, round("site", 9, 6)})
	if len(got) != 2 || got[0].target != "site" || got[1].failed != "gone" {
		t.Fatalf("got %+v, want the site's, and nginx's failure", got)
	}
	want := *round("site", 5, 8)
	want.span = [2]time.Duration{6 * time.Millisecond, 40 * time.Millisecond}
	if *got[0] != want {
		t.Errorf("got %+v, want %+v", *got[0], want)
	}
	if one := middles([]*floodResult{round("site", 5, 8)}); len(one) != 1 || *one[0] != *round("site", 5, 8) {
		t.Errorf("one round: got %+v, want it as it was", one[0])
	}
	var b strings.Builder
	writeFlood(&b, got[:1])
	if want := "| 4.00 | 8.00 (6.0-40.0) |"; !strings.Contains(b.String(), want) {
		t.Errorf("got\n%s\nwant %q in it", b.String(), want)
	}
}
