package upstream

import (
	"encoding/json"
	"errors"
	"math"
	"time"
)

// record is how well a way has done on a network.
type record struct {
	Score float64   `json:"score"` // from 0 to 1, at At
	At    time.Time `json:"at"`    // when something was learned last
}

const (
	// unknownScore is that of a way of which nothing is known: better than one that
	// mostly fails.
	unknownScore = 0.5
	// lesson is how far one outcome moves a score. With it a way that worked nine times
	// of ten goes before one that worked once, whichever of the ten has failed, and one
	// that was blocked falls behind within three.
	lesson = 0.3
	// scoreHalf is the time in which what is known comes to mean half as much.
	scoreHalf = 7 * 24 * time.Hour
	// scoreSteps are how finely scores are compared: within one the user's order counts.
	scoreSteps = 20
)

var errScore = errors.New("not a score from 0 to 1")

// at is the score at a time.
func (r record) at(now time.Time) float64 {
	if r.At.IsZero() {
		return unknownScore
	}
	age := max(0, now.Sub(r.At))
	return unknownScore + (r.Score-unknownScore)*math.Exp2(-float64(age)/float64(scoreHalf))
}

// step is the score for comparisons.
func (r record) step(now time.Time) int { return int(math.Round(r.at(now) * scoreSteps)) }

// percent is the score for people.
func (r record) percent(now time.Time) float64 { return math.Round(r.at(now)*100) / 100 }

// after is the record with one more outcome.
func (r record) after(works bool, now time.Time) record {
	score, to := r.at(now), 0.0
	if works {
		to = 1
	}
	return record{score + lesson*(to-score), now}
}

// UnmarshalJSON implements json.Unmarshaler. A time alone is what relays without scores
// have written: when the way worked last.
func (r *record) UnmarshalJSON(b []byte) error {
	var worked time.Time
	if json.Unmarshal(b, &worked) == nil {
		*r = record{}.after(true, worked)
		return nil
	}
	type plain record
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		return err
	}
	if r.Score < 0 || r.Score > 1 {
		return errScore
	}
	return nil
}

// learn keeps an outcome; under mu.
func (s *Set) learn(w *way, works bool, now time.Time) {
	w.record = w.record.after(works, now)
	if s.memory == nil || s.closed {
		return
	}
	network, r := s.network, w.record
	s.tasks.Go(func() { s.memory.note(network, w.Key, r) }) // a disk may take its time
}

// blame keeps that ways have failed where w has worked; under mu. Where nothing works a
// failure says nothing of a way.
func (s *Set) blame(w *way, now time.Time) {
	w.blamed = false
	for _, o := range s.ways {
		if o.blamed {
			o.blamed = false
			s.learn(o, false, now)
		}
	}
}
