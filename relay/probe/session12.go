package probe

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// handshake12 completes a handshake of TLS 1.2 with ECDHE and AES-128-GCM.
func (c *conn) handshake12(h *hello) error {
	s := &session{c: c, version: versionTLS12, sent: h.message(), random: h.random}
	if !c.send(h.records()) {
		return errNoSession
	}
	var flight []byte
	c.until(func(got []byte) bool {
		flight = flight[:0]
		recs, _ := split(got)
		for _, r := range recs {
			if r.typ == recHandshake {
				flight = append(flight, r.raw[recordHeaderLen:]...)
			}
		}
		const helloDone = 14
		return len(flight) > msgHeaderLen && flight[len(flight)-msgHeaderLen] == helloDone
	})
	share, err := s.keyExchange(flight)
	if err != nil {
		return err
	}
	s.sent = append(s.sent, flight...)
	key := message1(msgClientKey, append([]byte{byte(len(share))}, share...))
	s.sent = append(s.sent, key...)
	sum := sha256.Sum256(s.sent)
	done := message1(msgFinished, prf12(s.master, "client finished", sum[:], 12))
	b := append(plainRecord(recHandshake, versionTLS12, key), ccs(1)...)
	if !c.send(append(b, s.seal(recHandshake, done)...)) {
		return errNoSession
	}
	c.mu.Lock()
	c.tls = s
	c.mu.Unlock()
	finished := c.until(func(got []byte) bool {
		recs, _ := split(got)
		protected := false
		for _, r := range recs {
			if protected {
				return true
			}
			protected = r.typ == recCCS
		}
		return false
	})
	if !finished {
		return errNoSession
	}
	return nil
}

// keyExchange reads the server's flight, makes the keys and returns our share.
func (s *session) keyExchange(flight []byte) ([]byte, error) {
	var server, share []byte
	for b := flight; len(b) >= msgHeaderLen; {
		n := msgHeaderLen + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			break
		}
		m := b[msgHeaderLen:n]
		switch {
		case b[0] == msgServerHello && len(m) > 34:
			server = m[2:34]
		case b[0] == msgKeyExchange && len(m) > 4 && len(m) >= 4+int(m[3]):
			share = m[:4+int(m[3])]
		}
		b = b[n:]
	}
	const x25519 = 29
	if server == nil || share == nil || binary.BigEndian.Uint16(share[1:]) != x25519 {
		return nil, errNoSession
	}
	peer, err := ecdh.X25519().NewPublicKey(share[4:])
	if err != nil {
		return nil, errNoSession
	}
	private, err := ecdh.X25519().GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	secret, err := private.ECDH(peer)
	if err != nil {
		return nil, errNoSession
	}
	s.master = prf12(secret, "master secret", join(s.random, server), 48)
	// Client key, server key, client salt, server salt: RFC 5246, Section 6.3.
	k := prf12(s.master, "key expansion", join(server, s.random), 2*16+2*4)
	s.out = &half{aead: newGCM(k[:16]), iv: k[32:36]}
	s.reading = join(k[16:32], k[36:40])
	return private.PublicKey().Bytes(), nil
}

// prf12 is the PRF of RFC 5246, Section 5.
func prf12(secret []byte, label string, seed []byte, n int) (out []byte) {
	labelled := append([]byte(label), seed...)
	sum := func(parts ...[]byte) []byte {
		m := hmac.New(sha256.New, secret)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	for a := sum(labelled); len(out) < n; a = sum(a) {
		out = append(out, sum(a, labelled)...)
	}
	return out[:n]
}

// seal12 protects a record as RFC 5288, Section 3, says.
func (s *session) seal12(typ byte, b []byte) []byte {
	seq := binary.BigEndian.AppendUint64(nil, s.out.seq)
	s.out.seq++
	nonce := join(s.out.iv, seq)
	head := recordHeader(typ, versionTLS12, len(seq)+len(b)+s.out.aead.Overhead())
	aad := append(join(seq, head[:3]), byte(len(b)>>8), byte(len(b)))
	return s.out.aead.Seal(append(head, seq...), nonce, b, aad)
}

func (s *session) open12(r *record) (inner byte, plain []byte) {
	if s.in == nil {
		s.in = &half{aead: newGCM(s.reading[:16]), iv: s.reading[16:]}
	}
	body := r.raw[recordHeaderLen:]
	size := len(body) - 8 - s.in.aead.Overhead()
	if size < 0 {
		return 0, nil
	}
	seq := binary.BigEndian.AppendUint64(nil, s.in.seq)
	s.in.seq++
	aad := append(join(seq, r.raw[:3]), byte(size>>8), byte(size))
	plain, err := s.in.aead.Open(nil, join(s.in.iv, body[:8]), body[8:], aad)
	if err != nil {
		return 0, nil
	}
	return r.typ, plain
}
