package site

import (
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"relay/transport/h2"
)

// answerBuffer is how much of an answer is collected before its head is sent.
const answerBuffer = 4 << 10

// exchange is the http.ResponseWriter of a request on a connection of [users]. It does
// what that of golang.org/x/net's server does, for the same fields in the same order.
type exchange struct {
	s        *h2.Stream
	r        *http.Request
	header   http.Header
	status   int         // 0: not said yet
	head     http.Header // header as it was then
	trailers []string    // names of fields of header that go behind the body
	length   int64       // as the head has it; 0: it has none
	buffer   []byte      // not sent yet
	written  int64
	sent     bool // the head is
}

func newExchange(s *h2.Stream, r *http.Request) *exchange {
	e := &exchange{s: s, r: r, header: make(http.Header)}
	r.Body = requestBody{s, r.Context().Err}
	return e
}

// requestBody is the body of a request.
type requestBody struct {
	s    *h2.Stream
	lost func() error
}

// Read implements io.Reader.
func (b requestBody) Read(p []byte) (int, error) { return b.s.Read(p) }

// Close implements io.Closer: the server ends the request when it has answered.
func (b requestBody) Close() error { return nil }

// Header implements http.ResponseWriter.
func (e *exchange) Header() http.Header { return e.header }

// WriteHeader implements http.ResponseWriter.
func (e *exchange) WriteHeader(status int) {
	switch {
	case e.status != 0:
	case status < 200:
		h := e.header.Clone()
		h.Del("Content-Length")
		_ = e.s.Answer(status, appendFields(nil, h), false)
	default:
		e.status, e.head = status, e.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (e *exchange) Write(b []byte) (int, error) {
	e.WriteHeader(http.StatusOK)
	if !hasBody(e.status) {
		return 0, http.ErrBodyNotAllowed
	}
	e.written += int64(len(b))
	if e.length != 0 && e.written > e.length {
		return 0, http.ErrContentLength
	}
	if len(e.buffer)+len(b) <= answerBuffer {
		e.buffer = append(e.buffer, b...)
		return len(b), nil
	}
	if len(e.buffer) > 0 {
		if err := e.FlushError(); err != nil {
			return 0, err
		}
	}
	if err := e.send(b, false); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Flush implements http.Flusher.
func (e *exchange) Flush() { _ = e.FlushError() }

// FlushError is Flush for http.ResponseController.
func (e *exchange) FlushError() error {
	err := e.send(e.buffer, false)
	e.buffer = e.buffer[:0]
	return err
}

// SetReadDeadline is for http.ResponseController.
func (e *exchange) SetReadDeadline(t time.Time) error { return e.s.SetReadDeadline(t) }

// SetWriteDeadline is for http.ResponseController.
func (e *exchange) SetWriteDeadline(t time.Time) error { return e.s.SetWriteDeadline(t) }

// send sends a piece of the body behind the head; all says that it is the last one.
func (e *exchange) send(b []byte, all bool) error {
	e.WriteHeader(http.StatusOK)
	isHead := e.r.Method == http.MethodHead
	if !e.sent {
		e.sent = true
		fields := e.fields(b, all)
		end := isHead || all && len(b) == 0 && len(e.trailers) == 0
		if err := e.s.Answer(e.status, fields, end); err != nil || end {
			return err
		}
	}
	if isHead || len(b) == 0 {
		return nil
	}
	_, err := e.s.Write(b)
	return err
}

// fields are those of the head of an answer whose body begins with b.
func (e *exchange) fields(b []byte, all bool) []h2.Field {
	length := e.head.Get("Content-Length")
	delete(e.head, "Content-Length")
	n, err := strconv.ParseUint(length, 10, 63)
	if err != nil {
		length = ""
	}
	e.length = int64(n)
	if length == "" && all && hasBody(e.status) && (len(b) > 0 || e.r.Method != http.MethodHead) {
		length = strconv.Itoa(len(b))
	}
	for _, list := range e.head["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			e.trails(textproto.TrimString(name))
		}
	}
	delete(e.head, "Connection")
	fields := appendFields(make([]h2.Field, 0, len(e.head)+3), e.head)
	if _, ok := e.head["Content-Type"]; !ok && e.head.Get("Content-Encoding") == "" && hasBody(e.status) && len(b) > 0 {
		fields = append(fields, h2.Field{Name: "content-type", Value: http.DetectContentType(b)})
	}
	if length != "" {
		fields = append(fields, h2.Field{Name: "content-length", Value: length})
	}
	if _, ok := e.head["Date"]; !ok {
		fields = append(fields, h2.Field{Name: "date", Value: time.Now().UTC().Format(http.TimeFormat)})
	}
	return fields
}

// appendFields appends those of h that may be sent, or those of these names.
func appendFields(fields []h2.Field, h http.Header, names ...string) []h2.Field {
	if names == nil {
		names = slices.Sorted(maps.Keys(h))
	}
	for _, key := range names {
		name := strings.ToLower(key)
		if !httpguts.ValidHeaderFieldName(name) || name == "transfer-encoding" {
			continue
		}
		for _, v := range h[key] {
			if httpguts.ValidHeaderFieldValue(v) {
				fields = append(fields, h2.Field{Name: name, Value: v})
			}
		}
	}
	return fields
}

// trails says that a field goes behind the body.
func (e *exchange) trails(name string) {
	name = http.CanonicalHeaderKey(name)
	if httpguts.ValidTrailerHeader(name) && !slices.Contains(e.trailers, name) {
		e.trailers = append(e.trailers, name)
	}
}

func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// finish completes the answer.
func (e *exchange) finish() {
	for key, values := range e.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			e.trails(name)
			e.header[http.CanonicalHeaderKey(name)] = values
		}
	}
	slices.Sort(e.trailers) // golang.org/x/net does so before the head names others
	if err := e.send(e.buffer, true); err != nil {
		_ = e.s.Close()
		return
	}
	if fields := appendFields(nil, e.header, append([]string{}, e.trailers...)...); len(fields) > 0 && e.r.Method != http.MethodHead {
		_ = e.s.Trail(fields)
	}
	_ = e.s.Finish()
}
