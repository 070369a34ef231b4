package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// wsStream is one stream of VLESS over WebSocket (RFC 6455): a connection.
type wsStream struct {
	net.Conn
	in    *bufio.Reader
	left  uint64 // of the frame that is being read
	head  vlessHead
	first []byte // VLESS's request, which goes ahead of the first bytes
	frame []byte
	key   [4]byte
}

const (
	wsReadBuffer = 32 << 10
	wsKeyEnding  = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // Section 1.3
	wsBinary     = 0x82                                   // one frame is a message
	wsLong       = 127                                    // a length of eight bytes follows
	wsShort      = 126                                    // one of two
	wsMasked     = 0x80
	wsClose      = 8
)

// dialWebSocket does the handshakes on raw, which stays the caller's.
func dialWebSocket(ctx context.Context, raw net.Conn, l vlessLink, target *net.TCPAddr) (net.Conn, error) {
	c := raw
	if !l.bare {
		secure := tls.Client(raw, l.tls("http/1.1"))
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = secure
	}
	var nonce [16]byte
	s := &wsStream{Conn: c, in: bufio.NewReaderSize(c, wsReadBuffer), first: l.request(target), head: vlessHead{vlessHeadSize}}
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	_, _ = rand.Read(s.key[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		l.path, l.name, streamHeaders["User-Agent"], key)
	if err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	sum := sha1.Sum([]byte(key + wsKeyEnding))
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("websocket: got status %s, want 101 and the accept key", resp.Status)
	}
	return s, nil
}

// Write implements net.Conn: a write is a frame.
func (s *wsStream) Write(b []byte) (int, error) {
	size := len(s.first) + len(b)
	s.frame = append(s.frame[:0], wsBinary)
	switch {
	case size < wsShort:
		s.frame = append(s.frame, wsMasked|byte(size))
	case size < 1<<16:
		s.frame = binary.BigEndian.AppendUint16(append(s.frame, wsMasked|wsShort), uint16(size))
	default:
		s.frame = binary.BigEndian.AppendUint64(append(s.frame, wsMasked|wsLong), uint64(size))
	}
	s.frame = append(s.frame, s.key[:]...)
	begin := len(s.frame)
	s.frame = append(append(s.frame, s.first...), b...)
	s.first = nil
	mask(s.frame[begin:], s.key)
	_, err := s.Conn.Write(s.frame)
	return len(b), err
}

// mask is that of Section 5.3, eight bytes at a time.
func mask(b []byte, key [4]byte) {
	wide := uint64(binary.LittleEndian.Uint32(key[:]))
	wide |= wide << 32
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= key[i%4]
	}
}

// Read implements net.Conn.
func (s *wsStream) Read(b []byte) (int, error) {
	for {
		for s.left == 0 {
			if err := s.nextFrame(); err != nil {
				return 0, err
			}
		}
		n, err := s.in.Read(b[:min(uint64(len(b)), s.left)])
		s.left -= uint64(n)
		rest, bad := s.head.strip(b[:n])
		if bad != nil {
			return 0, bad
		}
		if n = copy(b, rest); n > 0 || err != nil {
			return n, err
		}
	}
}

// nextFrame reads a frame's header. Of control frames the load only knows the
// end; servers send no other ones in the time of a test.
func (s *wsStream) nextFrame() error {
	var b [8]byte
	if _, err := io.ReadFull(s.in, b[:2]); err != nil {
		return err
	}
	code, size := b[0]&0xf, b[1]
	switch {
	case code == wsClose:
		return io.EOF
	case code > wsClose || size&wsMasked != 0:
		return errors.New("websocket: got a frame that is masked or neither data nor the end")
	}
	s.left = uint64(size)
	wide := 0
	switch size {
	case wsShort:
		wide = 2
	case wsLong:
		wide = 8
	default:
		return nil
	}
	clear(b[:])
	_, err := io.ReadFull(s.in, b[8-wide:])
	s.left = binary.BigEndian.Uint64(b[:])
	return err
}
