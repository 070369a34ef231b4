package auth

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// Bytes is an amount of data. Its text is a number and a unit: "50GiB",
// "500MB", "1.5TiB"; without a unit it counts bytes. KB is 1000 bytes, KiB is
// 1024. The case of the unit does not matter.
type Bytes int64

// BitRate is a speed in bits per second. Its text is "20Mbit", "512kbit" or
// "1Gbit", with or without "/s". 0 means no limit.
type BitRate int64

// Quota is how much data a user may move in a period. The zero Quota is no
// quota at all, and its text is the empty string.
type Quota struct {
	Bytes Bytes
	Days  int // length of the period; 0 is the calendar month
}

// unit is a suffix with what it multiplies by.
type unit struct {
	name   string
	factor int64
}

// Both tables go from large to small, as withUnit needs.
var (
	byteUnits = []unit{
		{"EiB", 1 << 60}, {"EB", 1e18}, {"PiB", 1 << 50}, {"PB", 1e15}, {"TiB", 1 << 40}, {"TB", 1e12},
		{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
	}
	bitUnits = []unit{{"Tbit", 1e12}, {"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
)

// Texts for people who wrote the wrong thing: each shows a right one.
const (
	wantBytes  = `want an amount such as "50GiB", "500MB" or "1.5TiB"`
	wantRate   = `want bits per second such as "20Mbit" or "512kbit"`
	wantQuota  = `want an amount and a period such as "50GiB/month" or "10GiB/7d" (1 to 366 days)`
	wantExpiry = `want a time such as "30d", "12h", "2030-12-31" or "2030-12-31T18:00:00Z"`
)

// maxText bounds what the parsers look at and what their errors repeat. The
// longest text that means anything is shorter by half.
const maxText = 64

// String returns the shortest exact text.
func (b Bytes) String() string { return withUnit(int64(b), byteUnits) }

// MarshalText returns the text of String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads an amount of data. A fraction of a byte is dropped.
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := parseUnits(string(text), byteUnits, true)
	if err != nil {
		return fmt.Errorf("%w: %s", err, wantBytes)
	}
	*b = Bytes(n)
	return nil
}

// String returns the shortest exact text.
func (r BitRate) String() string { return withUnit(int64(r), bitUnits) }

// MarshalText returns the text of String.
func (r BitRate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a speed. A number without a unit is refused, unless it
// is 0: half of the people who write it mean bytes.
func (r *BitRate) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if len(s) > 2 && strings.EqualFold(s[len(s)-2:], "/s") {
		s = s[:len(s)-2]
	}
	n, err := parseUnits(s, bitUnits, false)
	if err != nil {
		return fmt.Errorf("%w: %s", err, wantRate)
	}
	*r = BitRate(n)
	return nil
}

// String returns the text that UnmarshalText reads.
func (q Quota) String() string {
	switch {
	case q.Bytes == 0:
		return ""
	case q.Days == 0:
		return q.Bytes.String() + "/month"
	}
	return q.Bytes.String() + "/" + strconv.Itoa(q.Days) + "d"
}

// MarshalText returns the text of String.
func (q Quota) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads an amount and a period, "50GiB/month" or "10GiB/7d". The
// empty text is no quota.
func (q *Quota) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == "" {
		*q = Quota{}
		return nil
	}
	amount, period, ok := strings.Cut(s, "/")
	if !ok {
		return fmt.Errorf("%s has no period: %s", show(s), wantQuota)
	}
	n, err := parseUnits(amount, byteUnits, true)
	if err != nil {
		return fmt.Errorf("%w: %s", err, wantQuota)
	}
	// 0 would read as "no quota" to the program and as "nothing" to the writer.
	if n == 0 {
		return fmt.Errorf(`%s allows nothing: %s, or "" for no quota`, show(s), wantQuota)
	}
	days, err := parsePeriod(period)
	if err != nil {
		return err
	}
	*q = Quota{Bytes: Bytes(n), Days: days}
	return nil
}

// parsePeriod reads "month" as 0 and "7d" as 7.
func parsePeriod(s string) (int, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "month" {
		return 0, nil
	}
	digits, ok := strings.CutSuffix(s, "d")
	if !ok || !isDigits(digits) {
		return 0, fmt.Errorf("%s is not a period: %s", show(s), wantQuota)
	}
	days, err := strconv.Atoi(digits)
	if err != nil || days < 1 || days > 366 {
		return 0, fmt.Errorf("%s is out of range: %s", show(s), wantQuota)
	}
	return days, nil
}

// ParseExpiry reads when something ends: a time from now ("30d", "12h",
// "1d12h"), a date, of which the whole day in UTC still counts, or a time as
// in RFC 3339. The result is in UTC. A time that is not after now is refused.
func ParseExpiry(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxText {
		return time.Time{}, fmt.Errorf("%s is not a time: %s", show(s), wantExpiry)
	}
	t, err := parseMoment(s, now)
	if err != nil {
		return time.Time{}, err
	}
	t = t.UTC()
	switch {
	case !t.After(now):
		return time.Time{}, fmt.Errorf("%s is in the past: %s", show(s), wantExpiry)
	// RFC 3339 has four digits for the year, and so has our state.
	case t.Year() > 9999:
		return time.Time{}, fmt.Errorf("%s is too far away: %s", show(s), wantExpiry)
	}
	return t, nil
}

// parseMoment reads the three forms of ParseExpiry.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		// The last whole second, so that the date a person reads back is the one he wrote.
		return t.Add(24*time.Hour - time.Second), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	bad := fmt.Errorf("%s is not a time: %s", show(s), wantExpiry)
	rest := s
	var days int64
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		if !isDigits(number) || err != nil || n > math.MaxInt64/int64(24*time.Hour) {
			return time.Time{}, bad
		}
		days, rest = n, after
	}
	var d time.Duration
	if rest != "" || s == "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil || d < 0 {
			return time.Time{}, bad
		}
	}
	return now.Add(time.Duration(days) * 24 * time.Hour).Add(d), nil
}

// parseUnits reads a decimal number and one of units. bare allows a number
// that stands alone.
func parseUnits(s string, units []unit, bare bool) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, errors.New("nothing is written here")
	}
	if len(s) > maxText {
		return 0, fmt.Errorf("%s is too long", show(s))
	}
	if s[0] == '-' {
		return 0, fmt.Errorf("%s is negative", show(s))
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(s)
	}
	number, suffix := s[:end], strings.TrimSpace(s[end:])
	whole, fraction, point := strings.Cut(number, ".")
	if !isDigits(whole) || point && !isDigits(fraction) {
		return 0, fmt.Errorf("%s does not start with a number", show(s))
	}
	factor := int64(0)
	for _, u := range units {
		if strings.EqualFold(u.name, suffix) {
			factor = u.factor
		}
	}
	if suffix == "" && (bare || strings.Trim(number, "0.") == "") {
		factor = 1
	}
	if factor == 0 {
		return 0, fmt.Errorf("%s has no unit we know", show(s))
	}
	// Exact arithmetic: a float would turn 9007199254740993B into its neighbour.
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%s does not start with a number", show(s))
	}
	r.Mul(r, new(big.Rat).SetInt64(factor))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() {
		return 0, fmt.Errorf("%s is too large", show(s))
	}
	return n.Int64(), nil
}

// withUnit writes n with the unit that leaves the smallest whole number: units
// go from large to small, so that is the first that divides n.
func withUnit(n int64, units []unit) string {
	for _, u := range units {
		if n != 0 && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.name
		}
	}
	return "0" + units[len(units)-1].name
}

// isDigits reports whether s is one or more decimal digits.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// show quotes what was written, shortened to what fits in a line.
func show(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strconv.Quote(s)
}
