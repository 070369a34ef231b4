package browser

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

const (
	preface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	maxHead    = 64 << 10
	maxFields  = 64
	maxStreams = 100 // requests at a time on one connection

	unknownAgent = "it does not say which"
)

// visitor is one HTTP/2 connection of the browser.
type visitor struct {
	c       *Capture
	conn    net.Conn
	r       *bufio.Reader
	decoder *hpack.Decoder
	fields  []Field // of the head that is being decoded
	out     bytes.Buffer
	encoder *hpack.Encoder
	waiting map[uint32]string // requests whose body has not ended, by path

	seen HTTP2 // what this connection has said of itself
}

func newVisitor(c *Capture, conn net.Conn) *visitor {
	v := &visitor{c: c, conn: conn, r: bufio.NewReader(conn), waiting: make(map[uint32]string)}
	v.decoder = hpack.NewDecoder(64<<10, func(f hpack.HeaderField) {
		if len(v.fields) < maxFields {
			v.fields = append(v.fields, Field{Name: f.Name, Value: f.Value})
		}
	})
	v.decoder.SetMaxStringLength(maxHead)
	v.encoder = hpack.NewEncoder(&v.out)
	return v
}

// serve answers until the connection ends.
func (v *visitor) serve() error {
	head := make([]byte, len(preface))
	if _, err := io.ReadFull(v.r, head); err != nil || string(head) != preface {
		return errors.New("no preface of HTTP/2")
	}
	if _, err := v.conn.Write(appendFrame(nil, frameSetting, 0, 0, nil)); err != nil {
		return err
	}
	for {
		f, err := readFrame(v.r)
		if err != nil {
			return err
		}
		if err := v.frame(f); err != nil {
			return err
		}
	}
}

func (v *visitor) frame(f frame) error {
	switch f.kind {
	case frameSetting:
		if f.flags&flagEnd != 0 {
			return nil
		}
		if v.seen.Settings == nil {
			for b := f.body; len(b) >= 6; b = b[6:] {
				s := Setting{ID: plain(Number(binary.BigEndian.Uint16(b))), Value: binary.BigEndian.Uint32(b[2:])}
				if s.ID == GREASE {
					s.Value = 0
				}
				v.seen.Settings = append(v.seen.Settings, s)
			}
		}
		_, err := v.conn.Write(appendFrame(nil, frameSetting, flagEnd, 0, nil))
		return err
	case frameWindow:
		if f.stream == 0 && len(f.body) == 4 && v.seen.Window == 0 {
			v.seen.Window = binary.BigEndian.Uint32(f.body)
		}
	case framePing:
		if f.flags&flagEnd == 0 {
			_, err := v.conn.Write(appendFrame(nil, framePing, flagEnd, 0, f.body))
			return err
		}
	case frameHeaders:
		return v.request(f)
	case frameData:
		path, ok := v.waiting[f.stream]
		if ok && f.flags&flagEnd != 0 {
			delete(v.waiting, f.stream)
			return v.answer(f.stream, path)
		}
	}
	return nil
}

// request reads the head of a request, which may have more frames.
func (v *visitor) request(f frame) error {
	block, priority, err := headBlock(f)
	if err != nil {
		return err
	}
	for whole := f.flags&flagWhole != 0; !whole; {
		next, err := readFrame(v.r)
		if err != nil {
			return err
		}
		if next.kind != frameMore || next.stream != f.stream || len(block)+len(next.body) > maxHead {
			return errors.New("the head of a request is not whole")
		}
		block = append(block, next.body...)
		whole = next.flags&flagWhole != 0
	}
	v.fields = nil
	if _, err := v.decoder.Write(block); err != nil {
		return err
	}
	if err := v.decoder.Close(); err != nil {
		return err
	}
	path := v.c.keepRequest(v, priority)
	if f.flags&flagEnd != 0 {
		return v.answer(f.stream, path)
	}
	if len(v.waiting) >= maxStreams {
		return errors.New("too many requests")
	}
	v.waiting[f.stream] = path
	return nil
}

// headBlock takes padding and priority off a HEADERS frame (RFC 9113, Section 6.2).
func headBlock(f frame) (block []byte, p *Priority, err error) {
	b := f.body
	malformed := errors.New("a HEADERS frame is malformed")
	if f.flags&flagPadded != 0 {
		if len(b) < 1 || int(b[0]) > len(b)-1 {
			return nil, nil, malformed
		}
		b = b[1 : len(b)-int(b[0])]
	}
	if f.flags&flagPriority != 0 {
		if len(b) < 5 {
			return nil, nil, malformed
		}
		on := binary.BigEndian.Uint32(b)
		p = &Priority{Exclusive: on>>31 != 0, DependsOn: on &^ (1 << 31), Weight: b[4]}
		b = b[5:]
	}
	return slices.Clip(b), p, nil
}

// answer sends what the page expects of a path.
func (v *visitor) answer(stream uint32, path string) error {
	status, kind, body := "200", "text/plain", []byte("ok")
	switch path {
	case "/":
		kind, body = "text/html; charset=utf-8", bytes.ReplaceAll(page, []byte("REVISITS"), strconv.AppendInt(nil, revisits, 10))
	case "/get", "/post", "/stream", "/again", "/done":
	default:
		status = "404"
	}
	v.out.Reset()
	for _, f := range []hpack.HeaderField{
		{Name: ":status", Value: status}, {Name: "content-type", Value: kind},
		{Name: "content-length", Value: strconv.Itoa(len(body))}, {Name: "cache-control", Value: "no-store"},
	} {
		_ = v.encoder.WriteField(f)
	}
	b := appendFrame(nil, frameHeaders, flagWhole, stream, v.out.Bytes())
	b = appendFrame(b, frameData, flagEnd, stream, body)
	if path == "/again" {
		b = appendFrame(b, frameGoAway, 0, 0, binary.BigEndian.AppendUint64(nil, uint64(stream)<<32))
	}
	if _, err := v.conn.Write(b); err != nil {
		return err
	}
	switch path {
	case "/again":
		return io.EOF
	case "/done":
		v.c.finish()
	}
	return nil
}

// keepRequest keeps the head of a request and returns its path.
func (c *Capture) keepRequest(v *visitor, priority *Priority) (path string) {
	var pseudo []string
	var fields []Field
	for _, f := range v.fields {
		switch {
		case f.Name == ":path":
			path = f.Value
			fallthrough
		case strings.HasPrefix(f.Name, ":"):
			pseudo = append(pseudo, f.Name)
		default:
			fields = append(fields, asked(f))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.http2
	switch path {
	case "/":
		if h.Page == nil {
			c.note("A browser is here: " + agent(fields))
		}
		h.Page = fields
		h.Settings, h.Window, h.Pseudo, h.Priority = v.seen.Settings, v.seen.Window, pseudo, priority
	case "/get":
		h.Get = fields
	case "/post":
		h.Post = fields
	case "/stream":
		// A browser that cannot sends the name of the stream as its body.
		if !slices.ContainsFunc(fields, func(f Field) bool { return f.Name == "content-length" }) {
			h.Stream = fields
		}
	}
	return path
}

// asked is a field without what depends on the request.
func asked(f Field) Field {
	switch f.Name {
	case "content-length", "origin", "referer", "host", "sec-websocket-key", "cookie":
		f.Value = ""
	}
	return f
}

func agent(fields []Field) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, "user-agent") {
			return f.Value
		}
	}
	return unknownAgent
}

// readSocket reads the request of a WebSocket, over HTTP/1.1, and refuses it.
func readSocket(conn net.Conn) ([]Field, error) {
	r := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxHead)))
	line, err := r.ReadLine()
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(line, " HTTP/1.1") {
		return nil, fmt.Errorf("request line %.40q", line)
	}
	var fields []Field
	for len(fields) < maxFields {
		line, err := r.ReadLine()
		if err != nil {
			return nil, err
		}
		if line == "" {
			_, err := io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return fields, err
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, fmt.Errorf("header line %.40q", line)
		}
		f := Field{Name: name, Value: value}
		if asked(Field{Name: strings.ToLower(name), Value: value}).Value == "" {
			f.Value = ""
		}
		fields = append(fields, f)
	}
	return nil, errors.New("the head is too long")
}
