package faketls

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"relay/transport"
)

// Errors of [Client].
var (
	// ErrNoProof says that the server is not one that knows the key: a real web
	// server, most likely.
	ErrNoProof = errors.New("faketls: server does not know the key")
	errFlight  = errors.New("faketls: not the flight of a server")
)

// ClientOptions say how a Client behaves. The zero value is today's.
type ClientOptions struct {
	Shape Shape
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Client does the client's half of the handshake over conn and returns the
// connection inside, in records as Telegram's clients send them. The deadline of
// conn bounds it. conn stays the caller's until Client has succeeded.
func Client(conn transport.Conn, name string, key [16]byte, o ClientOptions) (transport.Conn, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	sent := Hello(o.Shape, name, &key, o.Now())
	if _, err := conn.Write(sent); err != nil {
		return nil, fmt.Errorf("faketls: write hello: %w", err)
	}
	flight, err := readFlight(conn)
	if err != nil {
		return nil, err
	}
	proof := [randomSize]byte(flight[randomBegin:])
	clear(flight[randomBegin:randomEnd])
	v := newVisit()
	if subtle.ConstantTimeCompare(v.mac.sum(&key, sent[randomBegin:randomEnd], flight)[:], proof[:]) != 1 {
		return nil, ErrNoProof
	}
	return transport.NewCoded(conn, &codec{records: &clientRecords, now: o.Now, client: true}), nil
}

// readFlight reads the three records of a server and nothing behind them. It
// asks of them what tdlib and Telegram for iOS ask.
func readFlight(conn io.Reader) ([]byte, error) {
	var flight []byte
	for _, kind := range []byte{typeHandshake, typeChangeCipherSpec, typeApplicationData} {
		begin := len(flight)
		flight = grow(flight, recordHeader)
		header := flight[begin:]
		if _, err := io.ReadFull(conn, header); err != nil {
			return nil, fmt.Errorf("faketls: read flight: %w", err)
		}
		size := int(binary.BigEndian.Uint16(header[3:]))
		if header[0] != kind || header[1] != 3 || header[2] != 3 || size > maxFlight {
			return nil, errFlight
		}
		flight = grow(flight, size)
		body := flight[begin+recordHeader:]
		if _, err := io.ReadFull(conn, body); err != nil {
			return nil, fmt.Errorf("faketls: read flight: %w", err)
		}
		if kind == typeHandshake && size < randomEnd-recordHeader ||
			kind == typeChangeCipherSpec && (size != 1 || body[0] != 1) {
			return nil, errFlight
		}
	}
	return flight, nil
}
