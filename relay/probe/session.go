package probe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
)

// session is the client half of a TLS handshake by hand. crypto/tls sends only
// what is right; a probe has to send what is wrong, after a handshake that was
// right. It checks no certificate and no Finished: it has no secret to lose.
type session struct {
	c         *conn
	version   uint16
	suite     uint16
	hash      func() hash.Hash
	keyLen    int
	private   *ecdh.PrivateKey
	random    []byte // ours
	sent      []byte // handshake messages for the transcript
	out       *half
	in        *half // in use while reading; rewind starts over
	flightKey []byte
	dataKey   []byte
	stream    []byte // handshake messages read with in, of which
	parsed    int    // bytes have been looked at
	finished  int    // length of the stream at the end of Finished
	master    []byte // TLS 1.2
	reading   []byte // TLS 1.2: key and salt of the server
}

// half is one direction of protected records.
type half struct {
	aead   cipher.AEAD
	iv     []byte
	secret []byte
	seq    uint64
}

var errNoSession = errors.New("the server does not take this handshake")

const (
	versionTLS12 = 0x0303
	versionTLS13 = 0x0304

	suiteAES128 = 0x1301 // TLS_AES_128_GCM_SHA256
	suiteAES256 = 0x1302 // TLS_AES_256_GCM_SHA384
)

// expand is HKDF-Expand-Label, RFC 8446, Section 7.1.
func (s *session) expand(secret []byte, label string, context []byte, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	info = append(info, byte(len(context)))
	info = append(info, context...)
	out, err := hkdf.Expand(s.hash, secret, string(info), n)
	if err != nil {
		return make([]byte, n) // only for lengths that do not occur
	}
	return out
}

func (s *session) digest(b []byte) []byte {
	h := s.hash()
	h.Write(b)
	return h.Sum(nil)
}

func (s *session) half(secret []byte) *half {
	return &half{
		aead:   newGCM(s.expand(secret, "key", nil, s.keyLen)),
		iv:     s.expand(secret, "iv", nil, 12),
		secret: secret,
	}
}

func newGCM(key []byte) cipher.AEAD {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	g, err := cipher.NewGCM(b)
	if err != nil {
		return nil
	}
	return g
}

// next is the direction after a KeyUpdate, RFC 8446, Section 7.2.
func (s *session) next(h *half) *half {
	return s.half(s.expand(h.secret, "traffic upd", nil, s.hash().Size()))
}

func (h *half) nonce() []byte {
	n := append([]byte(nil), h.iv...)
	seq := binary.BigEndian.AppendUint64(nil, h.seq)
	for i, b := range seq {
		n[len(n)-8+i] ^= b
	}
	h.seq++
	return n
}

// handshake13 completes a handshake of TLS 1.3.
func (c *conn) handshake13(h *hello) error {
	s, err := c.flight13(h)
	if err != nil {
		return err
	}
	if !c.send(s.finish()) {
		return errNoSession
	}
	return nil
}

// flight13 sends the hello, waits for the server's flight and gets the keys ready.
func (c *conn) flight13(h *hello) (*session, error) {
	s := &session{c: c, version: versionTLS13, private: h.private, sent: h.message()}
	if !c.send(h.records()) {
		return nil, errNoSession
	}
	var hi []byte
	c.until(func(got []byte) bool {
		recs, _ := split(got)
		if len(recs) > 0 {
			hi = recs[0].raw
		}
		return hi != nil
	})
	if len(hi) < recordHeaderLen+msgHeaderLen || hi[0] != recHandshake {
		return nil, errNoSession
	}
	shared, err := s.serverHello(hi[recordHeaderLen:])
	if err != nil {
		return nil, err
	}
	transcript := s.digest(s.sent)
	n := s.hash().Size()
	zero := make([]byte, n)
	early, _ := hkdf.Extract(s.hash, zero, nil)
	secret, _ := hkdf.Extract(s.hash, shared, s.expand(early, "derived", s.digest(nil), n))
	s.flightKey = s.expand(secret, "s hs traffic", transcript, n)
	s.out = s.half(s.expand(secret, "c hs traffic", transcript, n))
	s.master, _ = hkdf.Extract(s.hash, zero, s.expand(secret, "derived", s.digest(nil), n))
	ok := c.until(func(got []byte) bool {
		recs, _ := split(got)
		read(recs, s)
		return s.finished > 0
	})
	if !ok {
		return nil, errNoSession
	}
	s.sent = append(s.sent, s.stream[:s.finished]...)
	s.dataKey = s.expand(s.master, "s ap traffic", s.digest(s.sent), n)
	c.mu.Lock()
	c.tls = s
	c.mu.Unlock()
	return s, nil
}

// serverHello reads suite and share and returns the shared secret.
func (s *session) serverHello(m []byte) ([]byte, error) {
	b := m[msgHeaderLen:]
	if m[0] != msgServerHello || len(b) < 35 || len(b) < 38+int(b[34]) {
		return nil, errNoSession
	}
	s.sent = append(s.sent, m...)
	b = b[35+int(b[34]):]
	switch s.suite = binary.BigEndian.Uint16(b); s.suite {
	case suiteAES128:
		s.hash, s.keyLen = sha256.New, 16
	case suiteAES256:
		s.hash, s.keyLen = sha512.New384, 32
	default:
		return nil, errNoSession
	}
	for b = b[5:]; len(b) >= 4; {
		typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if 4+n > len(b) {
			break
		}
		if body := b[4 : 4+n]; typ == extKeyShare && n > 4 && s.private != nil {
			peer, err := s.private.Curve().NewPublicKey(body[4:])
			if err != nil {
				return nil, errNoSession
			}
			return s.private.ECDH(peer)
		}
		b = b[4+n:]
	}
	return nil, errNoSession
}

// finish is the change of cipher and Finished, and makes the session protect
// what follows with the application's keys.
func (s *session) finish() []byte {
	flight := s.digest(s.sent)
	b := append(ccs(1), s.seal(recHandshake, s.finishedMessage())...)
	s.out = s.half(s.expand(s.master, "c ap traffic", flight, s.hash().Size()))
	return b
}

func (s *session) finishedMessage() []byte {
	mac := hmac.New(s.hash, s.expand(s.out.secret, "finished", nil, s.hash().Size()))
	mac.Write(s.digest(s.sent))
	return message1(msgFinished, mac.Sum(nil))
}

// seal protects one record of any type.
func (s *session) seal(typ byte, b []byte) []byte {
	if s.version == versionTLS12 {
		return s.seal12(typ, b)
	}
	plain := append(append([]byte(nil), b...), typ)
	head := recordHeader(recData, versionTLS12, len(plain)+s.out.aead.Overhead())
	return s.out.aead.Seal(head, s.out.nonce(), plain, head)
}

// ready says whether records of the server can be opened.
func (s *session) ready() bool { return s.flightKey != nil || s.reading != nil }

// rewind makes open start over at the first record.
func (s *session) rewind() {
	s.in, s.stream, s.parsed, s.finished = nil, nil, 0, 0
}

// open looks into the server's next protected record.
func (s *session) open(r *record) (inner byte, plain []byte) {
	if s.version == versionTLS12 {
		return s.open12(r)
	}
	if s.in == nil {
		s.in = s.half(s.flightKey)
	}
	body := r.raw[recordHeaderLen:]
	plain, err := s.in.aead.Open(nil, s.in.nonce(), body, r.raw[:recordHeaderLen])
	if err != nil {
		return 0, nil
	}
	for len(plain) > 0 && plain[len(plain)-1] == 0 {
		plain = plain[:len(plain)-1]
	}
	if len(plain) == 0 {
		return 0, nil
	}
	inner, plain = plain[len(plain)-1], plain[:len(plain)-1]
	if inner == recHandshake {
		s.follow(plain)
	}
	return inner, plain
}

// follow changes keys where the server does.
func (s *session) follow(b []byte) {
	s.stream = append(s.stream, b...)
	for {
		b := s.stream[s.parsed:]
		if len(b) < msgHeaderLen {
			return
		}
		n := msgHeaderLen + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			return
		}
		s.parsed += n
		switch b[0] {
		case msgFinished:
			s.finished = s.parsed
			if s.dataKey != nil {
				s.in = s.half(s.dataKey)
			}
		case msgKeyUpdate:
			s.in = s.next(s.in)
		}
	}
}

// leaf is the first certificate of the server's flight.
func (s *session) leaf() []byte {
	at := 3 // behind the length of the list, RFC 5246, Section 7.4.2
	if s.version == versionTLS13 {
		at++ // and an empty context, RFC 8446, Section 4.4.2
	}
	for b := s.sent; len(b) >= msgHeaderLen; {
		n := msgHeaderLen + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			break
		}
		if m := b[msgHeaderLen:n]; b[0] == msgCertificate && len(m) > at+3 {
			size := int(m[at])<<16 + int(m[at+1])<<8 + int(m[at+2])
			if at+3+size <= len(m) {
				return m[at+3 : at+3+size]
			}
		}
		b = b[n:]
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
