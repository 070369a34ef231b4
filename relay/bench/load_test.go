package main

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// startInProcess starts a sink and a forwarder to it and returns a load that
// goes through the forwarder. What the forwarder relays, either way, passes
// through change, with its place in the stream.
func startInProcess(t *testing.T, change func(at int64, b []byte)) (*load, context.Context) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 and up are addresses of this machine on Linux only")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	sinks, err := listenSink()
	if err != nil {
		t.Fatal(err)
	}
	l := &load{protocol: protocolForward}
	for _, s := range sinks {
		t.Cleanup(func() { s.Close() })
		go serveSink(s, serveConnection)
		l.sinks = append(l.sinks, s.Addr().(*net.TCPAddr))
	}
	forwarder, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forwarder.Close() })
	l.proxy = forwarder.Addr().(*net.TCPAddr)
	go func() {
		for {
			c, err := forwarder.AcceptTCP()
			if err != nil {
				return
			}
			go forward(c, l.sinks[0], change)
		}
	}()
	return l, ctx
}

func forward(c *net.TCPConn, to *net.TCPAddr, change func(at int64, b []byte)) {
	defer c.Close()
	d, err := net.DialTCP("tcp4", nil, to)
	if err != nil {
		return
	}
	defer d.Close()
	_ = inParallel(2, func(i int) error {
		dst, src := c, d
		if i == 0 {
			dst, src = d, c
		}
		defer dst.CloseWrite()
		_, err := io.Copy(dst, &changer{src: src, change: change})
		return err
	})
}

// changer reads from src and lets change look at what it read.
type changer struct {
	src    io.Reader
	at     int64
	change func(at int64, b []byte)
}

func (c *changer) Read(b []byte) (int, error) {
	n, err := c.src.Read(b)
	if c.change != nil {
		c.change(c.at, b[:n])
	}
	c.at += int64(n)
	return n, err
}

// flip returns a change of the one bit at a place of a stream.
func flip(place int64) func(at int64, b []byte) {
	return func(at int64, b []byte) {
		if i := place - at; i >= 0 && i < int64(len(b)) {
			b[i] ^= 1
		}
	}
}

func TestLoadThroughForwarder(t *testing.T) {
	l, ctx := startInProcess(t, nil)
	for name, f := range map[string]func() error{
		"down":       func() error { return l.bulk(ctx, wantDown, 4, 4<<20) },
		"up":         func() error { return l.bulk(ctx, wantUp, 4, 4<<20) },
		"empty":      func() error { return l.bulk(ctx, wantDown, 1, 0) },
		"connection": func() error { return l.connection(ctx, shortMessage) },
		"set": func() error {
			set, err := l.openSet(ctx, 100, rrMessage)
			if err != nil {
				return err
			}
			defer set.close()
			if err := inParallel(len(set), func(i int) error { return set[i].trip() }); err != nil {
				return err
			}
			if got := set.trips(); got != 200 {
				t.Errorf("round trips of 100 connections: got %d, want 200", got)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := f(); err != nil {
				t.Errorf("got %v, want no error", err)
			}
		})
	}
}

func TestLoadDirect(t *testing.T) {
	l, ctx := startInProcess(t, nil)
	l.protocol = protocolDirect
	for range 2 * sinkAddresses { // every address of the sink
		if err := l.connection(ctx, shortMessage); err != nil {
			t.Fatalf("got %v, want no error", err)
		}
	}
}

func TestLoadNoticesChangedByte(t *testing.T) {
	const later = 1<<20 + 4321
	for _, c := range []struct {
		name  string
		place int64
		load  func(ctx context.Context, l *load) error
	}{
		{"down", later, func(ctx context.Context, l *load) error { return l.bulk(ctx, wantDown, 2, 4<<20) }},
		{"up", later, func(ctx context.Context, l *load) error { return l.bulk(ctx, wantUp, 2, 4<<20) }},
		{"message", 40, func(ctx context.Context, l *load) error { return l.connection(ctx, shortMessage) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A message passes twice, and two flips of a bit are none.
			passes := make(chan struct{}, 1)
			change := flip(c.place)
			if c.name == "message" {
				change = func(at int64, b []byte) {
					if len(b) == 0 {
						return
					}
					select {
					case passes <- struct{}{}:
						flip(c.place)(at, b)
					default:
					}
				}
			}
			l, ctx := startInProcess(t, change)
			err := c.load(ctx, l)
			if err == nil || !strings.Contains(err.Error(), "changed the bytes") {
				t.Errorf("one bit flipped: got %v, want an error that says the proxy changed the bytes", err)
			}
		})
	}
}

func TestStreamsDiffer(t *testing.T) {
	const length = 2*blockSize + 100
	sums := map[uint32]string{}
	for name, stream := range map[string][2]uint64{
		"one": {length, 1}, "another seed": {length, 2}, "a byte less": {length - 1, 1},
	} {
		sum, err := sendStream(io.Discard, stream[0], stream[1])
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := sums[sum]; taken {
			t.Errorf("checksum of %s: got the same as of %s, want another", name, other)
		}
		sums[sum] = name
	}
}

func TestParseHeader(t *testing.T) {
	for name, h := range map[string]header{
		"unknown":       {'x', 100, 1},
		"message short": {wantExchange, headerSize - 1, 1},
		"message long":  {wantOnce, messageLimit + 1, 1},
		"stream long":   {wantDown, streamLimit + 1, 1},
	} {
		if _, err := parseHeader(h.append(nil)); err == nil {
			t.Errorf("%s: got no error for %+v, want one", name, h)
		}
	}
	want := header{wantUp, 12345, 1<<63 + 1}
	if got, err := parseHeader(want.append(nil)); err != nil || got != want {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
}

func TestMeterRunsATest(t *testing.T) {
	l, ctx := startInProcess(t, nil)
	l.protocol = protocolDirect
	// This process stands for the proxy too: what matters is that all is read.
	r := &run{load: l, meter: meter{proxy: os.Getpid()}, length: 50 * time.Millisecond, bytes: 8 << 20, conns: 50, most: 50}
	for _, test := range []struct {
		name string
		run  func(*run, context.Context) (values, error)
		keys []string
	}{
		{"bulk", bulk(wantUp, 10), []string{keyCost, keySeconds, keyPieces}},
		{"rate", (*run).rate, []string{keyCost, keySeconds, keyPieces}},
		{"rr", roundTrips(4, rrMessage, 0), []string{keyCost, keySeconds, keyPieces}},
	} {
		v, err := test.run(r, ctx)
		if err != nil {
			t.Errorf("%s: got %v, want no error", test.name, err)
		}
		for _, key := range test.keys {
			if _, ok := v[key]; !ok {
				t.Errorf("%s: got %v, want a value %q in it", test.name, v, key)
			}
		}
	}
}
