package vless

import (
	"context"
	"io"
	"sync"
	"testing"

	"relay/relay/relaytest"
	"relay/transport"
)

// saying is an exit that says the same to everybody, in two segments.
type saying struct {
	said []byte
	cut  int
	over sync.WaitGroup
}

// Open implements Carrier.
func (s *saying) Open(context.Context, []byte) (transport.Conn, error) {
	near, far := relaytest.Pipe()
	s.over.Go(func() {
		_, _ = far.Write(s.said[:s.cut])
		_, _ = far.Write(s.said[s.cut:])
		_ = far.CloseWrite()
		_, _ = io.Copy(io.Discard, far)
		_ = far.Close()
	})
	return near, nil
}

// FuzzExit lets an exit say anything to a stream, to datagrams and to streams that
// share one. Whatever it says, each of them ends, and what is payload of a stream is
// what came behind the answer.
func FuzzExit(f *testing.F) {
	for _, s := range []string{
		answer + "payload", "\x00\x03abcpayload", "\x01\x00", "", "\x00\xff",
		answer + xrayAnswers, answer + keep(1, "one") + keep(2, "two") + end(1) + wrong(2) + keep(3, "three"),
		answer + "\x00\x18\x00\x00\x02\x01\x02\r\x97\x03 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x05hello",
		answer + "\x00\x04\x00\x01\x02\x01\xff\xff", answer + asking(300, 50) + keep(1, "one"), answer + "\x02\x01",
	} {
		f.Add([]byte(s), len(s)/2)
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, said []byte, cut int) {
		if len(said) > 32<<10 {
			return
		}
		exit := &saying{said: said, cut: min(max(0, cut), len(said))}
		to := target(t, "93.184.216.34:443")
		d := &Dialer{Carrier: exit}
		c, err := d.DialStream(t.Context(), to, []byte("ask"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if n := answerSize(said); (err == nil) != (n <= len(said)) || err == nil && string(got) != string(said[n:]) {
			t.Errorf("stream: got %q, %v of %q, want what is behind the answer", got, err, said)
		}
		_ = c.Close()
		fuzzDatagrams(t, d, to)
		d.Mux, d.Shape = 2, true
		fuzzShared(t, d, to)
		_ = d.Close()
		exit.over.Wait()
	})
}

// answerSize is the length of an answer; one that is broken is longer than said.
func answerSize(said []byte) int {
	if len(said) < len(replyHeader) || said[0] != version {
		return len(said) + 1
	}
	return len(replyHeader) + int(said[1])
}

func fuzzDatagrams(t *testing.T, d *Dialer, to transport.Target) {
	p, err := d.DialPacket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = p.WritePacket([]byte("ask"), to)
	b := make([]byte, transport.MaxPacket)
	for {
		n, peer, err := p.ReadPacket(b)
		if err != nil {
			break
		}
		if n == 0 || !peer.IsValid() {
			t.Errorf("datagram: got %d bytes from %v, want some from somebody", n, peer)
		}
	}
	_ = p.Close()
}

func fuzzShared(t *testing.T, d *Dialer, to transport.Target) {
	var both sync.WaitGroup
	for range 2 {
		c, err := d.DialStream(t.Context(), to, nil)
		if err != nil {
			t.Fatal(err)
		}
		both.Go(func() {
			_, _ = io.WriteString(c, "ask")
			_, _ = io.ReadAll(c)
			_ = c.CloseWrite()
			_ = c.Close()
		})
	}
	both.Wait()
}
