package hello_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"

	"relay/transport"
	"relay/transport/hello"
)

func seeds(f *testing.F) {
	for _, name := range recordings {
		record := recording(f, name)
		f.Add(record)
		f.Add(divide(record, 5, 100, 200))
		f.Add(record[:100])
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"))
}

// FuzzMatch: a verdict is never taken back, and Record agrees with it.
func FuzzMatch(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		decided := transport.More
		for n := range len(b) + 1 {
			got := hello.Match(b[:n:n])
			if decided != transport.More && got != decided {
				t.Fatalf("Match of %d bytes: got %v, want %v as before", n, got, decided)
			}
			decided = got
		}
		record, n, ok := hello.Record(nil, b)
		if ok != (decided == transport.Yes) {
			t.Fatalf("Record: got %v, want it to agree with %v", ok, decided)
		}
		if !ok {
			if len(b) >= hello.MaxSize && decided == transport.More {
				t.Fatalf("Match of %d bytes: got More, want it decided", len(b))
			}
			return
		}
		if n > len(b) || n > hello.MaxSize || len(record) > n {
			t.Fatalf("Record: got %d bytes out of %d of %d", len(record), n, len(b))
		}
		if got := hello.Match(record); got != transport.Yes {
			t.Fatalf("Match of the one record: got %v, want Yes", got)
		}
	})
}

var errSeen = errors.New("seen")

// libraryView is how crypto/tls reads the same record; nil if it refuses.
func libraryView(record []byte) (seen *tls.ClientHelloInfo) {
	a, b := net.Pipe()
	go func() { _, _ = a.Write(record); _ = a.Close() }()
	server := tls.Server(readOnly{b}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			seen = h
			return nil, errSeen
		},
	})
	_ = server.Handshake()
	_ = b.Close()
	return seen
}

// readOnly swallows alerts.
type readOnly struct{ net.Conn }

func (readOnly) Write(b []byte) (int, error) { return len(b), nil }

// FuzzParse: whatever crypto/tls reads we read, and the same.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		record, _, ok := hello.Record(nil, b)
		if !ok {
			return
		}
		h, err := hello.Parse(hello.Message(record))
		lib := libraryView(record)
		if err != nil {
			// It is laxer in three things that no client does.
			if lib != nil && len(record) > 43 && record[43] <= 32 && len(lib.CipherSuites) > 0 && !emptyCompression(record) {
				t.Fatalf("Parse: got %v, want it read as crypto/tls does", err)
			}
			return
		}
		total := 0
		for _, key := range h.KeyShares() {
			total += len(key)
		}
		for p := range h.Protocols() {
			total += len(p)
		}
		if total > len(record) {
			t.Fatalf("lists: got %d bytes in a record of %d", total, len(record))
		}
		if lib == nil {
			return
		}
		if string(h.ServerName) != lib.ServerName {
			t.Fatalf("name: got %q, want %q", h.ServerName, lib.ServerName)
		}
		if got := slices.Collect(h.CipherSuites()); !slices.Equal(got, lib.CipherSuites) {
			t.Fatalf("suites: got %#x, want %#x", got, lib.CipherSuites)
		}
		var protocols []string
		for p := range h.Protocols() {
			protocols = append(protocols, string(p))
		}
		if !slices.Equal(protocols, lib.SupportedProtos) {
			t.Fatalf("protocols: got %q, want %q", protocols, lib.SupportedProtos)
		}
		if !bytes.Equal(h.Random, record[11:43]) {
			t.Fatal("random: got other bytes than those of the record")
		}
	})
}

// emptyCompression reports whether a record's list of compression methods is.
func emptyCompression(record []byte) bool {
	at := 44 + int(record[43])
	if len(record) < at+2 {
		return false
	}
	at += 2 + int(record[at])<<8 + int(record[at+1])
	return at >= len(record) || record[at] == 0
}
