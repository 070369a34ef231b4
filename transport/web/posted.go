package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"relay/transport"
	"relay/transport/h2"
)

const (
	// mostAgain is how often a piece is sent again that a server has not looked at.
	mostAgain = 3
	// mostPosted bounds what a client keeps of pieces for that.
	mostPosted = 16 << 20
)

// posted is a piece that waits for its answer. A server that ends a connection, as nginx
// does after some requests, says which of them it has not looked at (RFC 9113, Section
// 6.8); those go again elsewhere, as nothing else of the stream has suffered. Pieces have
// numbers, so what the server has after all it throws away.
type posted struct {
	path string
	pad  int
	body *pieceBuffer
	kept bool
	k    *carrier
	s    *h2.Stream
}

// post makes the request.
func (m *posted) post(ctx context.Context, k *carrier) (err error) {
	c, n := k.client, m.body.len()
	m.k = k
	m.s, err = k.open(ctx, c.askPadded(http.MethodPost, m.path, c.profile.HTTP2.Post, n, m.pad), m.body.b, true)
	if err != nil && ctx.Err() == nil && k.conn.Err() != nil {
		// The connection has ended since it was chosen.
		return fmt.Errorf("%w: %w", h2.ErrUnprocessed, err)
	}
	return err
}

// keep keeps the body, unless too many are.
func (m *posted) keep() {
	n := int64(m.body.len())
	if m.kept = m.k.client.posted.Add(n) <= mostPosted; !m.kept {
		m.k.client.posted.Add(-n)
		m.body.free()
		m.body = nil
	}
}

// settle waits for the answer, and sends the piece again where it was not looked at. It
// frees the body.
func (m *posted) settle(ctx context.Context) error {
	c := m.k.client
	err := m.accepted(ctx)
	for tries := 0; m.kept && errors.Is(err, h2.ErrUnprocessed) && tries < mostAgain; tries++ {
		var k *carrier
		if k, err = c.carrier(ctx); err != nil {
			break
		}
		err = m.post(ctx, k)
		c.leave(k)
		if err == nil {
			err = m.accepted(ctx)
		}
	}
	if m.kept {
		c.posted.Add(-int64(m.body.len()))
		m.body.free()
	}
	return err
}

// accepted waits for the answer.
func (m *posted) accepted(ctx context.Context) error {
	defer m.s.Close()
	status, _, err := m.s.Response(ctx)
	switch {
	case errors.Is(err, h2.ErrUnprocessed):
		return fmt.Errorf("web: %w: piece: %w", transport.ErrCarrier, err)
	case err != nil:
		return m.k.lost(fmt.Errorf("web: piece: %w", err))
	case status != http.StatusOK:
		return fmt.Errorf("web: %w: %w", transport.ErrCarrier, statusError(status))
	}
	return nil
}
