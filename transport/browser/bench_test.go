package browser_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"relay/transport/browser"
)

// pour is what a benchmark's server does with a connection: take all, or give it.
func pour(b *testing.B, with func(c net.Conn)) *browser.Conn {
	b.Helper()
	a := newAuthority(b)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	config := &tls.Config{Certificates: []tls.Certificate{a.server(b, name)}}
	go func() {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		c := tls.Server(raw, config)
		defer c.Close()
		with(c)
	}()
	c, err := client(b, ln.Addr().String(), browser.Config{ServerName: name, Roots: a.pool()})
	if err != nil {
		b.Fatalf("got %v, want nil", err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

const chunk = 64 << 10

func BenchmarkUp(b *testing.B) {
	c := pour(b, func(c net.Conn) { _, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{c}, make([]byte, chunk)) })
	buf := make([]byte, chunk)
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDown(b *testing.B) {
	c := pour(b, func(c net.Conn) {
		buf := make([]byte, chunk)
		for {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
	buf := make([]byte, chunk)
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHandshake(b *testing.B) {
	a := newAuthority(b)
	address, visits := serve(b, &tls.Config{Certificates: []tls.Certificate{a.server(b, name)}})
	b.ReportAllocs()
	for b.Loop() {
		c, err := client(b, address, browser.Config{ServerName: name, Roots: a.pool()})
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
		<-visits
	}
}
