package upstream

import "time"

// State is what is known of a way.
type State struct {
	Name       string        `json:"name"`
	Live       bool          `json:"live"`                  // it has a connection
	Streams    int           `json:"streams"`               // open on it
	Opened     int64         `json:"opened"`                // streams since the start
	Took       time.Duration `json:"took_ns"`               // of the last connection, names and handshake
	Score      float64       `json:"score"`                 // on this network, from 0 to 1; 0.5: nothing is known
	Failures   int           `json:"failures,omitempty"`    // in a row
	Trouble    string        `json:"trouble,omitempty"`     // the last failure
	Failed     time.Time     `json:"failed,omitzero"`       // when that was
	Probed     time.Time     `json:"probed,omitzero"`       // the last probe
	ProbeError string        `json:"probe_error,omitempty"` // of that; empty: it has worked
}

// States are the ways, as they were written.
func (s *Set) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var out []State
	for _, w := range s.ways {
		out = append(out, State{
			Name: w.Name, Live: w.Live(), Streams: w.streams, Opened: w.opened, Took: w.took, Score: w.record.percent(now),
			Failures: w.failures, Trouble: w.said, Failed: w.failed, Probed: w.asking.probed, ProbeError: w.asking.said,
		})
	}
	return out
}
