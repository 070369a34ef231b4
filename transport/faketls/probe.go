package faketls

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"relay/transport/hello"
)

const (
	// probes are the handshakes that one measurement takes, half of them with
	// each shape: enough to see most lengths that a signature has.
	probes = 8
	// settled is how long a server is silent when its flight is over. It sends
	// it in one go and waits for us then.
	settled = 300 * time.Millisecond
	// probeTimeout bounds the wait for the first byte, probeMost the flight.
	probeTimeout = 10 * time.Second
	probeMost    = 64 << 10
)

// ErrNotTLS13 says that a server does not answer with TLS 1.3.
var ErrNotTLS13 = errors.New("faketls: cover does not answer with TLS 1.3")

// retryRandom is the random of a HelloRetryRequest (RFC 8446, Section 4.1.3).
var retryRandom = []byte("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c")

// Probe measures how a real TLS server answers the hellos that Telegram's clients
// send. It makes a few connections, one after the other, and breaks each off
// after the server's first flight, so no certificate is looked at. dial connects
// to the server.
func Probe(ctx context.Context, dial func(context.Context) (net.Conn, error), name string) (Cover, error) {
	var c Cover
	for i := range probes {
		// Two orders of cipher suites show whose order the server follows.
		shape := Chrome
		if i%2 == 1 {
			shape = Safari
		}
		a, err := probe(ctx, dial, newHello(shape, name))
		if err != nil {
			return Cover{}, fmt.Errorf("faketls: probe of the cover: %w", err)
		}
		if a.retry {
			return Cover{CipherSuite: a.suite, Group: a.group, Retry: true}, nil
		}
		switch {
		case i == 0:
			c = Cover{CipherSuite: a.suite, Group: a.group, KeyShareFirst: a.keyShareFirst, Records: a.records}
		case a.suite != c.CipherSuite:
			c.CipherSuite = 0
		}
		if shape == Safari {
			c.SafariSizes = append(c.SafariSizes, a.size)
		} else {
			c.Sizes = append(c.Sizes, a.size)
		}
	}
	return c, nil
}

// answer is what one handshake shows.
type answer struct {
	suite, group  uint16
	keyShareFirst bool
	retry         bool
	size, records int
}

func probe(ctx context.Context, dial func(context.Context) (net.Conn, error), record []byte) (answer, error) {
	conn, err := dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(probeTimeout))
	if _, err := conn.Write(record); err != nil {
		return answer{}, err
	}
	flight, err := readSettled(conn)
	if err != nil {
		return answer{}, errors.Join(err, ctx.Err())
	}
	return readAnswer(flight)
}

// readSettled reads until the server has nothing more to say.
func readSettled(conn net.Conn) ([]byte, error) {
	var flight []byte
	b := make([]byte, 16<<10)
	for {
		n, err := conn.Read(b)
		if flight = append(flight, b[:n]...); len(flight) > probeMost {
			return nil, errFlight
		}
		if err == io.EOF || len(flight) > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			return flight, nil
		}
		if err != nil {
			return nil, err
		}
		_ = conn.SetReadDeadline(time.Now().Add(settled))
	}
}

// readAnswer takes a flight apart: a ServerHello, and what is encrypted.
func readAnswer(flight []byte) (a answer, err error) {
	for first := true; len(flight) > 0; first = false {
		if len(flight) < recordHeader {
			return answer{}, errFlight
		}
		end := recordHeader + int(binary.BigEndian.Uint16(flight[3:]))
		if len(flight) < end || end > recordHeader+maxReceived {
			return answer{}, errFlight
		}
		switch kind := flight[0]; {
		case first:
			if kind != typeHandshake {
				return answer{}, ErrNotTLS13 // an alert, or another protocol
			}
			if err := a.serverHello(flight[recordHeader:end]); err != nil {
				return answer{}, err
			}
		case kind == typeApplicationData:
			a.size += end
			a.records++
		case kind != typeChangeCipherSpec:
			return answer{}, ErrNotTLS13
		}
		flight = flight[end:]
	}
	if !a.retry && a.records == 0 {
		return answer{}, errFlight
	}
	return a, nil
}

// serverHello reads a ServerHello message (RFC 8446, Section 4.1.3).
func (a *answer) serverHello(b []byte) error {
	const sessionID = 4 + 2 + randomSize
	if len(b) < sessionID+1 || b[0] != 2 {
		return errFlight
	}
	// TLS 1.2 may have more messages in the same record.
	b = b[:min(len(b), 4+int(binary.BigEndian.Uint16(b[2:])))]
	if len(b) < sessionID+1 {
		return errFlight
	}
	a.retry = bytes.Equal(b[6:sessionID], retryRandom)
	b = b[sessionID:]
	n := 1 + int(b[0])
	switch {
	case len(b) < n+2+1:
		return errFlight
	case len(b) < n+2+1+2:
		return ErrNotTLS13 // no extensions
	}
	a.suite = binary.BigEndian.Uint16(b[n:])
	tls13 := false
	for b = b[n+5:]; len(b) > 0; {
		if len(b) < 4 {
			return errFlight
		}
		end := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < end {
			return errFlight
		}
		switch body := b[4:end]; binary.BigEndian.Uint16(b) {
		case extSupportedVersions:
			tls13 = len(body) == 2 && binary.BigEndian.Uint16(body) == hello.VersionTLS13
		case extKeyShare:
			if len(body) < 2 {
				return errFlight
			}
			a.group = binary.BigEndian.Uint16(body)
			a.keyShareFirst = !tls13
		}
		b = b[end:]
	}
	if !tls13 {
		return ErrNotTLS13
	}
	return nil
}
