package vless

import (
	"encoding/binary"
	"time"
)

// pieceSize is how much of a stream goes into one frame, as in Xray: other sessions
// get their turn in between.
const pieceSize = 8 << 10

// write writes what sessions have to say until nobody says anything more. What has
// come together meanwhile goes in one write.
func (m *mux) write() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		for len(m.out) == 0 && !m.done && m.err == nil {
			m.work.Wait()
		}
		if m.err != nil || len(m.out) == 0 {
			return
		}
		b, held := m.out, m.held
		m.out, m.held = nil, nil
		m.room.Broadcast()
		m.writing = time.Now()
		m.mu.Unlock()
		_, err := m.c.Write(b)
		outBuffers.Put(held)
		if err != nil {
			m.fail(err)
		}
		m.mu.Lock()
		if now := time.Now(); now.Sub(m.writing) > busyTime {
			m.waited = now
		}
		m.writing = time.Time{}
		m.writes++
		m.room.Broadcast()
	}
}

// fits reports whether there is room for n bytes of data in a frame; under mu.
func (m *mux) fits(n int) bool { return len(m.out)+maxFrameOut+n <= outSize }

// say adds a frame that nobody can wait with; under mu.
func (m *mux) say(f frame) error {
	if len(m.out)+maxFrameOut > outSize+outSpare {
		return errNotReading
	}
	m.fill()
	m.out = appendFrame(m.out, f)
	return nil
}

// add adds a frame with data, for which there is room; under mu.
func (m *mux) add(f frame, data []byte) {
	m.fill()
	f.option |= optionData
	m.out = binary.BigEndian.AppendUint16(appendFrame(m.out, f), uint16(len(data)))
	m.out = append(m.out, data...)
}

func (m *mux) fill() {
	m.spoken = true
	if m.held == nil {
		m.held = outBuffers.Get().(*[]byte)
		m.out = (*m.held)[:0]
	}
	m.work.Signal()
}
