package vless

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// A handshake inside of a session has a shape of its own: a hello up, a flight down, a
// short answer up. Where each stream is a connection the whole connection has it. So
// the beginning of sessions is padded, by keep-alive frames with data: Xray and
// sing-box throw these away as we do (common/mux/server.go; sing-vmess, mux.go).
//
// The data of ours begins with how many sizes follow it, up to [mostAsks], each in two
// bytes. The first of them is asked for as padding in the other direction, which comes
// with those behind it: so the flight down does not follow the hello, but something
// short down and something short up.
const (
	// paddedFrames is how many frames of a session are padded.
	paddedFrames = 8
	// leastPadded and usualPadded are what a short frame becomes: the sizes of
	// requests with their heads, less than any hello of TLS 1.3 and more than any
	// answer to a flight. A longer one grows by mostMore at most, and one from
	// mostPadded on not at all.
	leastPadded, usualPadded, mostPadded = 330, 460, 1400
	mostMore                             = 130
	// What the first frame of a client's session becomes is that of several requests.
	// In a stream's own first it is less: it may ride in a field of a request, which
	// is in base64 and has to fit into 8 KiB on its way (transport/web).
	leastFirst, mostFirst   = 3000, 4600
	leastEarly, mostEarly   = 1900, 2600
	leastAnswer, mostAnswer = 100, 500 // what a client asks for
	leastBehind, mostBehind = 230, 460 // what it is then asked for
	mostAsks                = 3
	// answersEach is how many answers a new session is worth, and mostAnswers how many
	// are had at a time.
	answersEach, mostAnswers = 2, 16
	// padHead is a keep-alive frame with data that asks for nothing.
	padHead = lengthSize + frameSize + lengthSize + 1
)

// zeros is what padding consists of: whoever sees it has the key.
var zeros [mostFirst]byte

func between(least, most int) int {
	return least + rand.IntN(most-least+1) //nolint:gosec // nothing secret
}

// shape pads a frame of n bytes of data that was just added; under mu.
func (s *session) shape(n int) {
	m := s.m
	if !m.pads || s.padded == paddedFrames {
		return
	}
	s.padded++
	first := s.padded == 1 && !m.serves()
	switch {
	case first && s.id == 1:
		m.pad(between(max(leastEarly, n), max(mostEarly, n))-n, drawAsks())
	case first:
		m.pad(between(max(leastFirst, n), max(mostFirst, n))-n, drawAsks())
	case n < usualPadded:
		m.pad(between(max(leastPadded, n), usualPadded)-n, nil)
	case n < mostPadded:
		m.pad(between(0, mostMore), nil)
	}
}

// drawAsks is what a client asks for beside a hello.
func drawAsks() []int {
	return []int{between(leastAnswer, mostAnswer), between(leastBehind, mostBehind)}
}

// pad adds padding, unless there is no room: nobody waits for it; under mu.
func (m *mux) pad(n int, asks []int) {
	head := padHead + 2*len(asks)
	n = max(n-head, 0)
	if !m.fits(head + n) {
		return
	}
	data := append(make([]byte, 0, 1+2*mostAsks), byte(len(asks)))
	for _, size := range asks {
		data = binary.BigEndian.AppendUint16(data, uint16(size))
	}
	m.keepAlive(n, data)
}

// keepAlive adds a keep-alive frame with data, n bytes of padding behind head; under mu.
func (m *mux) keepAlive(n int, head []byte) {
	m.fill()
	m.out = appendFrame(m.out, frame{status: statusKeepAlive, option: optionData})
	m.out = binary.BigEndian.AppendUint16(m.out, uint16(len(head)+n))
	m.out = append(append(m.out, head...), zeros[:n]...)
}

// assure says something to a client while nothing of it is read; under mu.
func (m *mux) assure(now time.Time) {
	if m.serves() && now.Sub(m.assured) >= aliveTime {
		m.assured = now
		m.pad(padHead, nil)
	}
}

// padding reads the data of a keep-alive frame, and does what it asks for.
func (m *mux) padding(size int) error {
	var b [1 + 2*mostAsks]byte
	head := b[:min(size, len(b))]
	if _, err := m.in.full(head); err != nil {
		return broken(err)
	}
	switch {
	case len(head) == 0:
	case head[0] == pingMark, head[0] == pongMark:
		m.marked(head[0], size)
	default:
		m.padBack(head)
	}
	return m.in.skip(size - len(head))
}

// padBack pads what goes to the other side from now on, as it does so itself, and
// answers it.
func (m *mux) padBack(head []byte) {
	asks := make([]int, 0, mostAsks)
	for i := range int(head[0]) {
		if i == mostAsks || len(head) < 3+2*i {
			return // it is not ours
		}
		asks = append(asks, int(binary.BigEndian.Uint16(head[1+2*i:])))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pads = m.pads || m.serves()
	if len(asks) == 0 || asks[0] > mostPadded || m.answers == 0 || m.err != nil || m.done {
		return
	}
	m.answers--
	m.pad(asks[0], asks[1:])
}
