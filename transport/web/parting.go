package web

import (
	"sync"
	"sync/atomic"
	"time"
)

// partingTime is how long nothing may come behind an end that cannot be said. Most who
// end their direction have gone, and their streams would stay until nobody's patience
// lasts; Xray's clients wait for a second.
const partingTime = 2 * time.Second

// parting ends a stream whose uplink has ended and cannot say so.
type parting struct {
	came atomic.Int64 // bytes of the downlink
	once sync.Once
}

// begin calls end once nothing has come for partingTime, and nothing is on its way up.
func (p *parting) begin(busy func() bool, end func()) {
	p.once.Do(func() { p.look(p.came.Load(), busy, end) })
}

func (p *parting) look(came int64, busy func() bool, end func()) {
	time.AfterFunc(partingTime, func() {
		if now := p.came.Load(); now != came || busy() {
			p.look(now, busy, end)
			return
		}
		end()
	})
}
