package socks5

import (
	"context"
	"io"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

// TestTrips counts the round trips from nothing to the target's first byte: one
// for the TCP handshake, and one for every time that the client has to wait
// before it can go on.
func TestTrips(t *testing.T) {
	const payload, answer = "hello", "welcome"
	type turn struct{ say, hear string }
	for _, tt := range []struct {
		name      string
		anonymous bool
		turns     []turn
		want      int
	}{
		{"pipelined", true, []turn{{anyone + to + payload, granted + reply(0) + answer}}, 2},
		{"pipelined with password", false, []turn{{password + alice + to + payload, asked + welcome + reply(0) + answer}}, 2},
		{"in turns", true, []turn{{anyone, granted}, {to, reply(0)}, {payload, answer}}, 4},
		{"in turns with password", false, []turn{{password, asked}, {alice, welcome}, {to, reply(0)}, {payload, answer}}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := relaytest.Pipe()
			defer client.Close()
			for _, c := range []transport.Conn{client, server} {
				if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			served := make(chan error, 1)
			go func() {
				served <- serveOnce(&Inbound{Verify: verify, Anonymous: tt.anonymous}, server, payload, answer)
			}()
			trips := 1
			for _, turn := range tt.turns {
				if _, err := io.WriteString(client, turn.say); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(turn.hear))
				if n, err := io.ReadFull(client, got); err != nil || string(got) != turn.hear {
					t.Fatalf("turn %d: got %q, %v, want %q", trips, got[:n], err, turn.hear)
				}
				trips++
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if trips != tt.want {
				t.Errorf("round trips: got %d, want %d", trips, tt.want)
			}
		})
	}
}

// serveOnce opens c, accepts it and answers payload.
func serveOnce(in *Inbound, c transport.Conn, payload, answer string) error {
	defer c.Close()
	req, err := in.Open(context.Background(), auth.User{}, transport.NewPeeked(c))
	if err != nil {
		return err
	}
	near, _, err := req.Accept(context.Background(), nil)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(near, make([]byte, len(payload))); err != nil {
		return err
	}
	_, err = io.WriteString(near, answer)
	return err
}
