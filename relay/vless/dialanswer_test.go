package vless

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// The answer comes in any pieces, with any addons, and is never payload.
func TestAnswer(t *testing.T) {
	long := "\x00\xff" + repeat("a", 255)
	for _, c := range []struct {
		name, said string
		want       string
		err        error
	}{
		{"plain", answer + "payload", "payload", nil},
		{"addons", "\x00\x03abcpayload", "payload", nil},
		{"long addons", long + "payload", "payload", nil},
		{"no payload", answer, "", nil},
		{"none", "", "", io.ErrUnexpectedEOF},
		{"half", "\x00", "", io.ErrUnexpectedEOF},
		{"half of the addons", long[:100], "", io.ErrUnexpectedEOF},
		{"version", "\x01\x00payload", "", errAnswer},
		{"http", "HTTP/1.1 400 Bad Request\r\n\r\n", "", errAnswer},
	} {
		for _, size := range []int{1, 3, 1000} {
			for _, wait := range []bool{false, true} {
				dialing(t, func(t *testing.T, x *exit) {
					conn := dialled(t, x)
					defer conn.Close()
					_, _ = io.WriteString(conn, "ask")
					end := x.end()
					go func() {
						for piece := range slices.Chunk([]byte(c.said), size) {
							_, _ = end.Write(piece)
							synctest.Wait()
						}
						_ = end.CloseWrite()
					}()
					var r io.Reader = conn
					if wait {
						r = waiting{conn}
					}
					got, err := io.ReadAll(r)
					if string(got) != c.want || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
						t.Errorf("%s by %d: got %q, %v, want %q, %v", c.name, size, got, err, c.want, c.err)
					}
					if _, again := conn.Read(make([]byte, 1)); c.err != nil && again != err {
						t.Errorf("%s by %d: read again: got %v, want %v", c.name, size, again, err)
					}
				})
			}
		}
	}
}

// waiting waits before it reads.
type waiting struct{ transport.Conn }

// Read implements io.Reader.
func (w waiting) Read(b []byte) (int, error) {
	if err := w.Conn.(transport.ReadWaiter).WaitRead(); err != nil {
		return 0, err
	}
	return w.Conn.Read(b)
}

// A deadline passes while nothing is open yet, within the answer, and afterwards: each
// time reading goes on.
func TestReadDeadlines(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c := dialled(t, x)
		defer c.Close()
		late := func(when string) {
			t.Helper()
			_ = c.SetReadDeadline(time.Now().Add(firstWait / 2))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read %s: got %v, want a time-out", when, err)
			}
			if err := waitTimes(c); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("wait %s: got %v, want a time-out", when, err)
			}
		}
		late("before there is a stream")
		_, _ = io.WriteString(c, "ask")
		late("before the answer")
		_, _ = x.end().Write([]byte("\x00"))
		late("within the answer")
		_, _ = x.end().Write([]byte("\x02x"))
		late("within its addons")
		_, _ = x.end().Write([]byte("y"))
		late("behind it")
		_ = c.SetReadDeadline(time.Time{})
		_, _ = x.end().Write([]byte("answer"))
		b := make([]byte, 10)
		if n, err := c.Read(b); string(b[:n]) != "answer" || err != nil {
			t.Errorf("read: got %q, %v, want the answer", b[:n], err)
		}
	})
}

func waitTimes(c transport.Conn) error { return c.(transport.ReadWaiter).WaitRead() }

// An answer that comes by drops ends with its time, whoever waits, and whatever deadline
// he has; one that is only slow does not.
func TestAnswerByDrops(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration
		limit time.Duration // of each Read
		want  error
	}{
		{"drops", time.Second, 0, errDrops},
		{"drops, with deadlines", time.Second, 700 * time.Millisecond, errDrops},
		{"one byte and silence", time.Hour, 0, errDrops},
		{"slow", answerTime / 300, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialing(t, func(t *testing.T, x *exit) {
				conn := dialled(t, x)
				defer conn.Close()
				_, _ = io.WriteString(conn, "ask")
				end := x.end()
				began := time.Now()
				reset := make(chan bool)
				go func() {
					for _, b := range []byte("\x00\xff" + repeat("a", 255) + "x") {
						if _, err := end.Write([]byte{b}); err != nil {
							reset <- true
							return
						}
						time.Sleep(c.every)
					}
					reset <- false
				}()
				var err error
				for n := 0; n == 0 && time.Since(began) < time.Minute; {
					if c.limit > 0 {
						_ = conn.SetReadDeadline(time.Now().Add(c.limit))
					}
					n, err = conn.Read(make([]byte, 1))
					if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						break
					}
				}
				if !errors.Is(err, c.want) {
					t.Errorf("read: got %v, want %v", err, c.want)
				}
				if took := time.Since(began); took > answerTime {
					t.Errorf("read: got %v after %v, want it within %v", err, took, answerTime)
				}
				if got := <-reset; got != (c.want != nil) {
					t.Errorf("at the exit: got a reset %v, want %v", got, c.want != nil)
				}
			})
		})
	}
}
