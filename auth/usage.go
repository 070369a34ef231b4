package auth

import (
	"encoding/binary"
	"errors"
	"maps"
	"time"
)

// Usage is what a user has moved: totals for ever, and bytes by day (UTC) for
// as long as a quota may look back.
type Usage struct {
	Up, Down int64
	Days     map[int32]int64 // day since 1970 to bytes of both directions
}

// maxDays is the longest quota period.
const maxDays = 366

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

// add counts bytes on a day and forgets days that no quota can see.
func (u *Usage) add(day int32, n int64) {
	if n == 0 {
		return
	}
	if u.Days == nil {
		u.Days = make(map[int32]int64, 1)
	}
	u.Days[day] += n
	if len(u.Days) > maxDays {
		for d := range u.Days {
			if d <= day-maxDays {
				delete(u.Days, d)
			}
		}
	}
}

func (u *Usage) clone() Usage {
	return Usage{Up: u.Up, Down: u.Down, Days: maps.Clone(u.Days)}
}

// encode writes up, down and the days as varints.
func (u *Usage) encode() []byte {
	b := make([]byte, 0, 24+12*len(u.Days))
	b = binary.AppendUvarint(b, uint64(u.Up))
	b = binary.AppendUvarint(b, uint64(u.Down))
	for d, n := range u.Days {
		b = binary.AppendVarint(b, int64(d))
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

var errUsage = errors.New("byte counters cannot be read")

func decodeUsage(b []byte) (Usage, error) {
	var u Usage
	up, n := binary.Uvarint(b)
	if n <= 0 {
		return u, errUsage
	}
	b = b[n:]
	down, n := binary.Uvarint(b)
	if n <= 0 {
		return u, errUsage
	}
	b = b[n:]
	u.Up, u.Down = int64(up), int64(down)
	for len(b) > 0 {
		day, n := binary.Varint(b)
		if n <= 0 || day != int64(int32(day)) {
			return u, errUsage
		}
		b = b[n:]
		sum, n := binary.Uvarint(b)
		if n <= 0 {
			return u, errUsage
		}
		b = b[n:]
		u.add(int32(day), int64(sum))
	}
	return u, nil
}
