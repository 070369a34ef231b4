package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	// A connection is told apart by two addresses and two ports. Several sink
	// addresses keep short connections from running out of them.
	sinkAddresses = 8
	// No test takes longer, so what is older was left behind.
	sinkLimit = 10 * time.Minute
)

// runSink is the process behind the proxies: what the load talks to. It prints
// its ports, and ends when standard input does, which its parent holds open: it
// cannot outlive the program that started it.
func runSink() error {
	listeners, err := listenSink()
	if err != nil {
		return err
	}
	site, err := siteServer()
	if err != nil {
		return err
	}
	for _, l := range listeners {
		go serveSink(l, serveConnection)
	}
	fmt.Print(portOf(listeners[0]))
	for _, serve := range []func(net.Conn) error{serveDC, site} {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: sinkIP(0)})
		if err != nil {
			return err
		}
		go serveSink(l, serve)
		fmt.Print(" ", portOf(l))
	}
	fmt.Println()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// listenSink listens on the same port of every sink address.
func listenSink() ([]net.Listener, error) {
	var last error
	for range 20 { // a port that is free on the first may be taken on the others
		listeners, err := listenSinkOnce()
		if err == nil {
			return listeners, nil
		}
		last = err
	}
	return nil, fmt.Errorf("sink: find a port that is free on 127.0.0.1 to 127.0.0.%d: %w", sinkAddresses, last)
}

func listenSinkOnce() ([]net.Listener, error) {
	port := 0
	var listeners []net.Listener
	for i := range sinkAddresses {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: sinkIP(i), Port: port})
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return nil, err
		}
		port = portOf(l)
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func sinkIP(i int) net.IP { return net.IPv4(127, 0, 0, byte(1+i)) }

// serveSink serves connections until the listener is closed.
func serveSink(l net.Listener, serve func(net.Conn) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			// What goes wrong here shows at the load, which says so.
			_ = serve(c)
		}()
	}
}

func serveConnection(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(sinkLimit)); err != nil {
		return err
	}
	first := make([]byte, headerSize, 256)
	if _, err := io.ReadFull(c, first); err != nil {
		return err
	}
	c, err := openDC(c, first)
	if err != nil {
		return err
	}
	h, err := parseHeader(first)
	if err != nil {
		return err
	}
	var sum uint32
	switch h.want {
	case wantDown:
		sum, err = sendStream(c, h.length, h.seed)
	case wantUp:
		sum, err = receiveStream(c, h.length, h.seed)
	default:
		return answer(c, first, int(h.length), h.want == wantOnce)
	}
	if err != nil {
		return err
	}
	if _, err = c.Write(binary.BigEndian.AppendUint32(nil, sum)); err != nil {
		return err
	}
	// The load ends first: mtg drops what it has not passed on yet otherwise.
	_, err = c.Read(make([]byte, 1))
	return err
}

// answer sends each message back. The first has been read up to its header.
func answer(c net.Conn, first []byte, size int, once bool) error {
	message := append(first, make([]byte, size-len(first))...)
	rest := message[headerSize:]
	for {
		if _, err := io.ReadFull(c, rest); err != nil {
			return err
		}
		if _, err := c.Write(message); err != nil || once {
			return err
		}
		rest = message
	}
}
