package relaytest

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// whole: the opening in one write, then payload both ways.
func (k suite) whole(t *testing.T) {
	k.bubble(t, 0, func(s *session) {
		s.say(k.o.Bytes)
		s.open()
		near := s.accepted()
		if near == nil {
			return
		}
		s.say(k.o.payload())
		s.up(near, k.o.Up+k.o.payload())
		s.down(near)
		if s.raw.closed {
			t.Error("connection: got closed by the inbound, want open")
		}
	})
}

// silent: where there is no opening, a client that says nothing hears the target
// at once.
func (k suite) silent(t *testing.T) {
	k.bubble(t, 0, func(s *session) {
		s.open()
		near := s.accepted()
		if near == nil {
			return
		}
		s.down(near)
		if took := time.Since(s.began); took != 0 {
			t.Errorf("target heard after %v, want at once", took)
		}
		s.say(k.o.payload())
		s.up(near, k.o.Up+k.o.payload())
	})
}

// bytewise: every byte in a segment of its own, payload too.
func (k suite) bytewise(t *testing.T) {
	k.bubble(t, 0, func(s *session) {
		s.open()
		all := k.o.Bytes + k.o.payload()
		for i := range len(k.o.Bytes) {
			s.say(all[i : i+1])
			synctest.Wait()
		}
		near := s.accepted()
		if near == nil {
			return
		}
		said := make(chan struct{})
		go func() {
			defer close(said)
			for i := len(k.o.Bytes); i < len(all); i++ {
				s.say(all[i : i+1])
				synctest.Wait()
			}
		}()
		s.up(near, k.o.Up+k.o.payload())
		<-said
		s.down(near)
	})
}

// split: opening and payload in two segments, with every boundary, and then the
// end of the stream. The last one is all in one segment.
func (k suite) split(t *testing.T) {
	all := k.o.Bytes + k.o.payload()
	for i := range len(all) {
		k.bubble(t, 0, func(s *session) {
			s.open()
			s.say(all[:len(all)-i])
			synctest.Wait()
			s.say(all[len(all)-i:])
			near := s.accepted()
			if near == nil {
				return
			}
			if err := s.client.CloseWrite(); err != nil {
				t.Error(err)
			}
			s.up(near, k.o.Up+k.o.payload())
			s.ended(near)
			s.down(near)
		})
		if t.Failed() {
			t.Fatalf("split at %d: got a failure, want none", len(all)-i)
		}
	}
}

// ended reads the end of the stream from near.
func (s *session) ended(near io.Reader) {
	s.t.Helper()
	n, err := near.Read(make([]byte, 1))
	if n != 0 || err != io.EOF {
		s.t.Errorf("towards the target: got %d bytes, %v, want 0, EOF", n, err)
	}
}

// halfClose: a client that ends its direction right behind the opening still
// gets the reply and the answer.
func (k suite) halfClose(t *testing.T) {
	k.bubble(t, 0, func(s *session) {
		s.say(k.o.Bytes)
		_ = s.client.CloseWrite()
		s.open()
		near := s.accepted()
		if near == nil {
			return
		}
		s.up(near, k.o.Up)
		if k.o.Framed && k.o.Payload != "" {
			if n, err := near.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("read of a payload that broke off: got %d, %v, want 0 and an error", n, err)
			}
		} else {
			s.ended(near)
		}
		s.down(near)
	})
}

// noAnswer: a target that ends without a byte.
func (k suite) noAnswer(t *testing.T) {
	k.bubble(t, 0, func(s *session) {
		s.say(k.o.Bytes)
		s.open()
		near := s.accepted()
		if near == nil {
			return
		}
		if err := near.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: got %v, want nil", err)
		}
		s.reads(k.o.Reply + k.o.Ahead)
		s.ended(s.client)
	})
}

// slowReader: the connection holds one byte each way, and both sides read one
// byte at a time.
func (k suite) slowReader(t *testing.T) {
	k.bubble(t, 1, func(s *session) {
		s.open()
		said := make(chan struct{})
		go func() {
			defer close(said)
			s.say(k.o.Bytes + k.o.payload())
		}()
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			s.reads(k.o.Reply + k.o.Ahead + answerText)
		}()
		if near := s.accepted(); near != nil {
			s.up(oneByte{near}, k.o.Up+k.o.payload())
			if _, err := io.WriteString(near, answerText); err != nil {
				t.Errorf("write to the client: got %v, want nil", err)
			}
		} else {
			_ = s.client.Close()
		}
		<-said
		<-heard
	})
}

// oneByte reads one byte at a time.
type oneByte struct{ io.Reader }

// Read implements io.Reader.
func (o oneByte) Read(b []byte) (int, error) { return o.Reader.Read(b[:min(1, len(b))]) }

// match: Match is pure, begins with no byte at all, takes no verdict back, and
// says Yes before the end of the opening at the latest.
func (k suite) match(t *testing.T) {
	in := k.fresh()
	all := []byte(k.o.Bytes + k.o.payload())
	checkMatch(t, in, all)
	if got := in.Match([]byte(k.o.Bytes)); got != yes {
		t.Errorf("Match of the whole opening: got %d, want Yes (%d)", got, yes)
	}
	// Every other byte in every place of the opening: never a panic, never a
	// verdict that is taken back.
	for i := range min(len(k.o.Bytes), 64) {
		for _, b := range []byte{0, 1, 4, 5, 6, ' ', '\r', '\n', 'A', 'a', 0x16, 0x7f, 0x80, 0xff} {
			other := append([]byte(nil), all...)
			other[i] = b
			checkMatch(t, in, other)
		}
	}
}

func checkMatch(t *testing.T, in Opener, b []byte) {
	t.Helper()
	before := more
	if empty, none := in.Match([]byte{}), in.Match(nil); empty != none {
		t.Fatalf("Match of an empty prefix: got %d, want %d as for nil", empty, none)
	}
	for n := 0; n <= len(b); n++ {
		prefix := append([]byte(nil), b[:n]...)
		got := in.Match(prefix)
		if again := in.Match(prefix); again != got {
			t.Fatalf("Match(%q) again: got %d, want %d", prefix, again, got)
		}
		if string(prefix) != string(b[:n]) {
			t.Fatalf("bytes after Match: got %q, want %q", prefix, b[:n])
		}
		if got != no && got != yes && got != more {
			t.Fatalf("Match(%q): got %d, want a verdict", prefix, got)
		}
		if before != more && got != before {
			t.Fatalf("Match(%q): got %d, want %d as for the shorter prefix", prefix, got, before)
		}
		before = got
	}
}
