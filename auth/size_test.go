package auth

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Bytes
		back string
	}{
		{"50GiB", 50 << 30, "50GiB"},
		{"500MB", 500e6, "500MB"},
		{"1.5TiB", 3 << 39, "1536GiB"},
		{"1024", 1024, "1KiB"},
		{"1kb", 1000, "1KB"},
		{"1KIB", 1024, "1KiB"},
		{" 64 gb ", 64e9, "64GB"},
		{"0", 0, "0B"},
		{"0B", 0, "0B"},
		{"1.9B", 1, "1B"},
		{"9007199254740993", 1<<53 + 1, "9007199254740993B"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807B"},
		{"7.5EiB", 15 << 59, "7680PiB"},
	} {
		var got Bytes
		if err := got.UnmarshalText([]byte(tt.text)); err != nil || got != tt.want {
			t.Errorf("%q: got %d, %v, want %d", tt.text, got, err, tt.want)
		}
		if got.String() != tt.back {
			t.Errorf("%q: got text %q, want %q", tt.text, got, tt.back)
		}
	}
}

func TestBytesRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "-1", "-5GiB", "8EiB", "9223372036854775808", "99999999999999999999GB", "1e3", "5G", "5 bananas",
		"GiB", "1..5GB", ".5GB", "1.GB", "0x10", "1,5GB", strings.Repeat("1", 1000), "1/3", "1_000", "∞",
	} {
		b := Bytes(7)
		err := b.UnmarshalText([]byte(text))
		if err == nil || b != 7 {
			t.Errorf("%.40q: got %d, %v, want it refused and untouched", text, b, err)
			continue
		}
		if !strings.Contains(err.Error(), `"50GiB"`) || len(err.Error()) > 200 {
			t.Errorf("%.40q: got error %q, want a short one with an example", text, err)
		}
	}
}

func TestBitRate(t *testing.T) {
	for _, tt := range []struct {
		text string
		want BitRate
		back string
	}{
		{"20Mbit", 20e6, "20Mbit"},
		{"512kbit", 512e3, "512kbit"},
		{"1Gbit", 1e9, "1Gbit"},
		{"20Mbit/s", 20e6, "20Mbit"},
		{"1.5 GBIT/S", 15e8, "1500Mbit"},
		{"0", 0, "0bit"},
	} {
		var got BitRate
		if err := got.UnmarshalText([]byte(tt.text)); err != nil || got != tt.want || got.String() != tt.back {
			t.Errorf("%q: got %d %q, %v, want %d %q", tt.text, got, got, err, tt.want, tt.back)
		}
	}
	for _, text := range []string{"", "/s", "20", "20MB/s", "-1Mbit", "99999999Tbit", "20Mbit/h"} {
		var r BitRate
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), `"20Mbit"`) {
			t.Errorf("%q: got %d, error %v, want one with an example", text, r, err)
		}
	}
}

func TestQuota(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Quota
		back string
	}{
		{"", Quota{}, ""},
		{"50GiB/month", Quota{Bytes: 50 << 30}, "50GiB/month"},
		{"10GiB/7d", Quota{Bytes: 10 << 30, Days: 7}, "10GiB/7d"},
		{"1tb / MONTH", Quota{Bytes: 1e12}, "1TB/month"},
		{"1B/366d", Quota{Bytes: 1, Days: 366}, "1B/366d"},
	} {
		var got Quota
		if err := got.UnmarshalText([]byte(tt.text)); err != nil || got != tt.want || got.String() != tt.back {
			t.Errorf("%q: got %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"50GiB", "50GiB/", "/month", "50GiB/year", "1GB/0d", "1GB/367d", "1GB/-1d", "1GB/+7d", "0/month", "-1GB/7d", "1GB/7d/7d"} {
		q := Quota{Bytes: 1}
		err := q.UnmarshalText([]byte(text))
		if err == nil || q != (Quota{Bytes: 1}) || !strings.Contains(err.Error(), `"50GiB/month"`) {
			t.Errorf("%q: got %+v, error %v, want it untouched and an error with an example", text, q, err)
		}
	}
}

func TestParseExpiry(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.FixedZone("", 2*3600))
	for _, tt := range []struct{ text, want string }{
		{"30d", "2026-07-01T10:00:00Z"},
		{"12h", "2026-06-01T22:00:00Z"},
		{"1d12h", "2026-06-02T22:00:00Z"},
		{"2026-12-31", "2026-12-31T23:59:59Z"},
		{"2026-06-01", "2026-06-01T23:59:59Z"}, // today still counts
		{"2026-06-01T12:00:01+02:00", "2026-06-01T10:00:01Z"},
	} {
		got, err := ParseExpiry(tt.text, now)
		if err != nil || got.Format(time.RFC3339) != tt.want {
			t.Errorf("%q: got %v, %v, want %s", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{
		"", "0d", "0h", "-1d", "-5h", "1d-5h", "2026-05-31", "2026-06-01T10:00:00Z", "2026-13-01", "tomorrow",
		"30", "99999999999d", "9223372036854775807d", "9999-12-31T23:00:00-05:00", "1.5d", "d", strings.Repeat("1", 99) + "d",
	} {
		if got, err := ParseExpiry(text, now); err == nil || !strings.Contains(err.Error(), `"2030-12-31"`) {
			t.Errorf("%q: got %v, error %v, want one with an example", text, got, err)
		}
	}
}

// FuzzBytes checks that what is accepted is not negative and survives String.
func FuzzBytes(f *testing.F) {
	for _, s := range []string{"50GiB", "500MB", "1.5TiB", "1024", "", "-1", "8EiB", "0.000000001KB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b, back Bytes
		if b.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(b.String())); err != nil || back != b || b < 0 {
			t.Errorf("%q: got %d, then %d, %v, want the same, not negative", s, b, back, err)
		}
	})
}

// FuzzBitRate is FuzzBytes for speeds.
func FuzzBitRate(f *testing.F) {
	for _, s := range []string{"20Mbit", "512kbit", "1Gbit", "20Mbit/s", "0", "20", "/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var r, back BitRate
		if r.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(r.String())); err != nil || back != r || r < 0 {
			t.Errorf("%q: got %d, then %d, %v, want the same, not negative", s, r, back, err)
		}
	})
}

// FuzzQuota checks that what is accepted is in range and survives String.
func FuzzQuota(f *testing.F) {
	for _, s := range []string{"50GiB/month", "10GiB/7d", "", "0/7d", "1GB/366d", "1GB/367d", "1/1/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var q, back Quota
		if q.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(q.String())); err != nil || back != q || q.Bytes < 0 || q.Days < 0 || q.Days > 366 {
			t.Errorf("%q: got %+v, then %+v, %v, want the same, in range", s, q, back, err)
		}
	})
}

// FuzzParseExpiry checks that what is accepted lies ahead and survives RFC 3339.
func FuzzParseExpiry(f *testing.F) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, s := range []string{"30d", "12h", "2026-12-31", "2026-12-31T18:00:00Z", "", "-1d", "106751d2562047h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseExpiry(s, now)
		if err != nil {
			return
		}
		back, err := ParseExpiry(at.Format(time.RFC3339Nano), now)
		if err != nil || !back.Equal(at) || !at.After(now) {
			t.Errorf("%q: got %v, then %v, %v, want the same, after %v", s, at, back, err, now)
		}
	})
}
