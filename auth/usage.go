package auth

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

// Usage is what a user has moved: totals for ever, and bytes by day (UTC) for
// as long as the quota looks back.
type Usage struct {
	Up, Down int64
	Days     map[int32]int64 // day since 1970 to bytes of both directions
}

const (
	maxDays = 366 // the longest quota period
	minDays = 62  // what is kept for a shorter one: this month and the last
)

// keep is how many days of counters q needs. Not more is kept: users are
// written every few seconds, and a year of days is 4 kB each time.
func (q Quota) keep() int { return max(q.Days, minDays) }

func dayOf(t time.Time) int32 { return int32(t.Unix() / 86400) }

// since is the first day that counts towards q on the day of now: the first of
// the calendar month, or the last q.Days days, today included.
func (q Quota) since(now time.Time) int32 {
	if q.Days > 0 {
		return dayOf(now) - int32(q.Days) + 1
	}
	now = now.UTC()
	return dayOf(time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC))
}

// In is the sum of bytes in the period of q, today left out or not. Tomorrow
// counts too, so that a clock set back a little gives nothing away; days further
// ahead do not, so that one that was years ahead for a while locks nobody out.
func (u *Usage) In(q Quota, now time.Time, today bool) int64 {
	first, t := q.since(now), dayOf(now)
	var sum int64
	for day, n := range u.Days {
		if day >= first && day <= t+1 && (today || day != t) {
			sum += n
		}
	}
	return sum
}

// add counts bytes on a day and keeps no more than keep days. Those that lie
// furthest from the day go first: a clock that is wrong for a while costs the
// days it invented and not the history.
func (u *Usage) add(day int32, n int64, keep int) {
	if n == 0 {
		return
	}
	if u.Days == nil {
		u.Days = make(map[int32]int64, 1)
	}
	u.Days[day] += n
	for len(u.Days) > keep {
		far := day
		for d := range u.Days {
			if distance(d, day) > distance(far, day) {
				far = d
			}
		}
		delete(u.Days, far)
	}
}

func distance(a, b int32) int64 {
	if a > b {
		return int64(a) - int64(b)
	}
	return int64(b) - int64(a)
}

func (u *Usage) clone() Usage {
	return Usage{Up: u.Up, Down: u.Down, Days: maps.Clone(u.Days)}
}

// encode writes up, down and the days, in their order, as varints.
func (u *Usage) encode() []byte {
	b := make([]byte, 0, 24+12*len(u.Days))
	b = binary.AppendUvarint(b, uint64(u.Up))
	b = binary.AppendUvarint(b, uint64(u.Down))
	for _, d := range slices.Sorted(maps.Keys(u.Days)) {
		b = binary.AppendVarint(b, int64(d))
		b = binary.AppendUvarint(b, uint64(u.Days[d]))
	}
	return b
}

var errUsage = errors.New("byte counters cannot be read")

// decodeUsage reads what encode wrote and nothing else.
func decodeUsage(b []byte) (Usage, error) {
	ok := true
	amount := func() int64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxInt64 {
			ok, b = false, nil
			return 0
		}
		b = b[n:]
		return int64(v)
	}
	u := Usage{Up: amount(), Down: amount()}
	last := int64(math.MinInt64)
	for ok && len(b) > 0 {
		day, n := binary.Varint(b)
		if n <= 0 || day != int64(int32(day)) || day <= last || len(u.Days) == maxDays {
			return Usage{}, errUsage
		}
		b = b[n:]
		if u.Days == nil {
			u.Days = make(map[int32]int64)
		}
		u.Days[int32(day)], last = amount(), day
	}
	if !ok {
		return Usage{}, errUsage
	}
	return u, nil
}
