package mtproto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

// limit is how long anything on real sockets may take.
const limit = 10 * time.Second

// obfuscated2 is the two directions of a link, written anew from the protocol's
// description and from nothing in this package: forth is that of the frame.
type obfuscated2 struct {
	forth, back cipher.Stream
	tag         uint32
	id          int16
}

// ciphers makes the streams of a frame, with a secret or without.
func ciphers(init, secret []byte) *obfuscated2 {
	stream := func(material []byte) cipher.Stream {
		key := material[:32]
		if secret != nil {
			sum := sha256.Sum256([]byte(string(key) + string(secret)))
			key = sum[:]
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			panic(err)
		}
		return cipher.NewCTR(block, material[32:])
	}
	var turned []byte
	for i := 55; i >= 8; i-- {
		turned = append(turned, init[i])
	}
	return &obfuscated2{forth: stream(init[8:56]), back: stream(turned)}
}

// dials is the client's half: what it says first.
func dials(seed byte, secret []byte, tag uint32, id int16) (opening []byte, o *obfuscated2) {
	init := make([]byte, 64)
	for first := ""; first == "" || !ordinary(init); first = "drawn" {
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(init)
		seed++
	}
	o = ciphers(init, secret)
	o.tag, o.id = tag, id
	binary.LittleEndian.PutUint32(init[56:], tag)
	binary.LittleEndian.PutUint16(init[60:], uint16(id))
	all := make([]byte, 64)
	o.forth.XORKeyStream(all, init)
	return append(init[:56:56], all[56:]...), o
}

// answers is the server's half.
func answers(opening, secret []byte) *obfuscated2 {
	o := ciphers(opening, secret)
	all := make([]byte, 64)
	o.forth.XORKeyStream(all, opening)
	o.tag, o.id = binary.LittleEndian.Uint32(all[56:]), int16(binary.LittleEndian.Uint16(all[60:]))
	return o
}

// ordinary says in other words what clients avoid.
func ordinary(init []byte) bool {
	for _, avoid := range []uint32{0x44414548, 0x54534f50, 0x20544547, 0x4954504f, 0xdddddddd, 0xeeeeeeee, 0x02010316} {
		if binary.LittleEndian.Uint32(init) == avoid {
			return false
		}
	}
	return init[0] != 0xef && string(init[4:8]) != "\x00\x00\x00\x00"
}

func xored(s cipher.Stream, text string) []byte {
	b := []byte(text)
	s.XORKeyStream(b, b)
	return b
}

// side is one end of a link: what is written goes out encrypted, what is read
// comes decrypted.
type side struct {
	net.Conn
	out, in cipher.Stream
}

// Write implements net.Conn.
func (s side) Write(b []byte) (int, error) { return s.Conn.Write(xored(s.out, string(b))) }

// Read implements net.Conn.
func (s side) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.in.XORKeyStream(b[:n], b[:n])
	return n, err
}

// keyring is the Keys of the tests.
type keyring struct {
	users  []auth.User
	keys   [][SecretSize]byte
	asked  int // candidates tried
	proved []string
}

// ring holds n users, alice last: user1, user2, …, alice.
func ring(n int) *keyring {
	k := new(keyring)
	for i := range n {
		u := auth.User{ID: uint64(i + 1), Name: fmt.Sprintf("user%d", i+1)}
		if i == n-1 {
			u.Name = "alice"
		}
		key := sha256.Sum256([]byte(u.Name))
		k.users, k.keys = append(k.users, u), append(k.keys, [SecretSize]byte(key[:]))
	}
	return k
}

func (k *keyring) key(name string) []byte {
	for i, u := range k.users {
		if u.Name == name {
			return k.keys[i][:]
		}
	}
	panic(name)
}

// Candidates implements Keys.
func (k *keyring) Candidates(_ string, _ netip.Addr, yield func(auth.User, *[SecretSize]byte) bool) {
	for i := range k.users {
		k.asked++
		key := k.keys[i]
		more := yield(k.users[i], &key)
		clear(key[:]) // it is valid during the call
		if !more {
			return
		}
	}
}

// Key implements Keys.
func (k *keyring) Key(user auth.User) (key [SecretSize]byte, ok bool) {
	for i, u := range k.users {
		if u == user {
			return k.keys[i], true
		}
	}
	return key, false
}

// Proved implements Keys.
func (k *keyring) Proved(_ netip.Addr, user auth.User) { k.proved = append(k.proved, user.Name) }

// wire is an inbound on the wire for every kind of secret.
func wire(keys Keys) *Inbound {
	return &Inbound{Keys: keys, DCs: NewTable(TableOptions{}), Plain: []Kind{KindPadded, KindSimple}, Replays: NewReplays()}
}

// inside is an inbound in a carrier.
func inside(keys Keys) *Inbound {
	return &Inbound{Keys: keys, DCs: NewTable(TableOptions{}), Inside: true}
}

// said is a connection on which a client has said something that was peeked at.
func said(t testing.TB, text []byte) (p *transport.Peeked, client *relaytest.Conn, raw *written) {
	t.Helper()
	client, server := relaytest.Pipe()
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	raw = &written{Conn: server}
	p = transport.NewPeeked(raw)
	if len(text) > 0 {
		if _, err := client.Write(text); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Peek(1); err != nil {
			t.Fatal(err)
		}
	}
	return p, client, raw
}

// written notes writes and reads.
type written struct {
	transport.Conn
	writes, reads int
}

// Write implements net.Conn.
func (w *written) Write(b []byte) (int, error) {
	w.writes++
	return w.Conn.Write(b)
}

// Read implements net.Conn.
func (w *written) Read(b []byte) (int, error) {
	w.reads++
	return w.Conn.Read(b)
}

// tcpPair is a connection over loopback.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{dialled, accepted} {
		_ = c.SetDeadline(time.Now().Add(limit))
		t.Cleanup(func() { _ = c.Close() })
	}
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// reads reads as much as want and compares.
func reads(t testing.TB, from io.Reader, want, where string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil || string(got) != want {
		t.Errorf("%s: got %d bytes %.40q, %v, want %d bytes %.40q", where, n, got[:n], err, len(want), want)
	}
}
