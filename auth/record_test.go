package auth

import (
	"errors"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// plain is a record in a form that reflect can compare.
type plain struct {
	Record
	Key string
}

func plainly(r *Record) plain {
	p := plain{*r, string(r.Key.bytes())}
	p.Record.Key = Key{}
	return p
}

func fullRecord() *Record {
	return &Record{
		ID: 7, Name: "alice", Key: pattern(9), Created: time.Unix(1_700_000_000, 0).UTC(),
		Expires: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Disabled: true,
		Quota: Quota{Bytes: math.MaxInt64, Days: 366}, MaxConns: 3, MaxIPs: 4, Rate: 20e6,
		Generations: map[string]uint32{"socks5": math.MaxUint32, "http": 1},
		Explicit:    map[string]string{"http": "pässword \"quoted\" <&>"},
		Places:      map[string]string{"mtproto": "www.example.org"},
	}
}

func TestRecordRoundTrip(t *testing.T) {
	full := fullRecord()
	if v := reflect.ValueOf(*full); true {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("field %s: got zero, want the test to set every field", v.Type().Field(i).Name)
			}
		}
	}
	for name, r := range map[string]*Record{
		"every field": full,
		"no field":    {ID: 1, Name: "b", Key: pattern(1), Created: time.Unix(0, 0).UTC()},
		"before 1970": {ID: 1, Name: "b", Key: pattern(1), Created: time.Unix(-5, 0).UTC()},
	} {
		b, err := r.encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := decodeRecord(r.Name, b)
		if err != nil || !reflect.DeepEqual(plainly(got), plainly(r)) {
			t.Errorf("%s: got %+v, %v, want %+v", name, plainly(got), err, plainly(r))
		}
	}
	if b, err := (&Record{ID: 1, Name: "x"}).encode(); err == nil {
		t.Errorf("no key: got %s, want an error", b)
	}
	r := &Record{ID: 1, Name: "x", Key: pattern(1), Expires: time.Unix(0, 1)}
	b, _ := r.encode()
	if got, err := decodeRecord("x", b); err != nil || got.Expires.IsZero() {
		t.Errorf("expires at 1970: got %v, %v, want no user without an end", got.Expires, err)
	}
}

func TestRotateAndSetExplicit(t *testing.T) {
	realm, r := pattern(50), fullRecord()
	before := *r
	before.Generations, before.Explicit = maps.Clone(r.Generations), maps.Clone(r.Explicit)
	socks, http := r.Password(realm, "socks5"), r.Password(realm, "http")
	if http != before.Explicit["http"] {
		t.Errorf("explicit: got %q, want it to win", http)
	}
	copied := *r
	copied.Rotate("http")
	if got := copied.Password(realm, "http"); got == http || got != copied.Key.Password(realm, "http", 2) {
		t.Errorf("rotated: got %q, want the second derived one", got)
	}
	if got := copied.Password(realm, "socks5"); got != socks {
		t.Errorf("other label: got %q, want %q", got, socks)
	}
	if !maps.Equal(r.Generations, before.Generations) || !maps.Equal(r.Explicit, before.Explicit) {
		t.Error("got the copied record changed, want it as it was")
	}
	g := copied.Generations["socks5"]
	copied.SetExplicit("socks5", "imported")
	if copied.Password(realm, "socks5") != "imported" || copied.Generations["socks5"] == g {
		t.Errorf("got generation %d, want another and the password", copied.Generations["socks5"])
	}
	var empty Record
	empty.SetExplicit("http", "p")
	empty.Rotate()
	if empty.Explicit["http"] != "p" {
		t.Errorf("got %q, want %q", empty.Explicit["http"], "p")
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "alice": true, "Alice-2_x.y": true, "0": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, ".": false, "..": false, "-x": false, "_x": false, "a b": false,
		"a/b": false, "a\x00": false, "a\n": false, "ä": false, "a:b": false, "a\"": false,
	} {
		if err := CheckName(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v, want allowed %t", name, err, ok)
		}
	}
}

func TestCheckExplicit(t *testing.T) {
	for p, ok := range map[string]bool{
		"x": true, strings.Repeat("x", 127): true, "pässword :@/": true,
		"": false, strings.Repeat("x", 128): false, "a\x00": false, "a\nb": false, "\x7f": false,
	} {
		if err := CheckExplicit(p); (err == nil) != ok {
			t.Errorf("%q: got %v, want allowed %t", p, err, ok)
		}
	}
}

func TestUsage(t *testing.T) {
	at := func(s string) time.Time {
		d, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	var u Usage
	for i, day := range []string{"2024-01-31", "2024-02-01", "2024-02-28", "2024-02-29", "2024-03-01", "2084-03-01"} {
		u.add(dayOf(at(day+" 12:00:00")), 1<<i, 366)
	}
	month := Quota{Bytes: 1}
	for _, tt := range []struct {
		name, now string
		q         Quota
		today     bool
		want      int64
	}{
		{"month", "2024-02-29 23:59:59", month, true, 2 + 4 + 8 + 16}, // tomorrow counts
		{"month without today", "2024-02-29 23:59:59", month, false, 2 + 4 + 16},
		{"first second of a month", "2024-03-01 00:00:00", month, true, 16},
		{"last second of January", "2024-01-31 23:59:59", month, true, 1 + 2},
		{"one day", "2024-02-29 00:00:00", Quota{1, 1}, true, 8 + 16},
		{"two days", "2024-03-01 00:00:00", Quota{1, 2}, true, 8 + 16},
		{"a year", "2025-02-28 00:00:00", Quota{1, 366}, true, 8 + 16},
		{"sixty years ahead", "2084-03-01 00:00:00", Quota{1, 366}, true, 32},
		{"1970", "1970-01-01 00:00:00", Quota{1, 366}, true, 0},
	} {
		if got := u.In(tt.q, at(tt.now), tt.today); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestUsageIsBounded(t *testing.T) {
	var u Usage
	for day := range int32(2000) {
		u.add(20000+day, 1, minDays)
		if len(u.Days) > minDays {
			t.Fatalf("got %d days, want at most %d", len(u.Days), minDays)
		}
	}
	// A clock that jumps takes the place of as many days as it invents, and
	// those are the first to go.
	for _, day := range []int32{math.MaxInt32, math.MinInt32, 0, 40000} {
		u.add(day, 1, minDays)
	}
	for day := range int32(10) {
		u.add(22000+day, 1, minDays)
	}
	recent := 0
	for d := range u.Days {
		if d >= 20000 && d < 23000 {
			recent++
		}
	}
	if len(u.Days) != minDays || recent < minDays-4 {
		t.Errorf("got %d days of which %d are real, want %d and at least %d", len(u.Days), recent, minDays, minDays-4)
	}
	b := u.encode()
	got, err := decodeUsage(b)
	if err != nil || !reflect.DeepEqual(got, u) {
		t.Errorf("got %v, %v, want %v", got, err, u)
	}
	if Quota.keep(Quota{}) != minDays || Quota.keep(Quota{1, 366}) != 366 {
		t.Error("got another number of days to keep, want what the quota looks back")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	full, _ := fullRecord().encode()
	for _, b := range []string{string(full), `{}`, `null`, `{"id":1,"k":"AAAA"}`, `{"id":-1}`, `[]`, "", "\x00", `{"id":1e99}`} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord("alice", b)
		if err != nil {
			return
		}
		if r.ID == 0 || len(r.Key.bytes()) != keySize {
			t.Fatalf("got ID %d and %d bytes of key, want a whole record", r.ID, len(r.Key.bytes()))
		}
		again, err := r.encode()
		if err != nil {
			t.Fatalf("encode: got %v, want none", err)
		}
		r2, err := decodeRecord("alice", again)
		if err != nil {
			t.Fatalf("second time: got %v, want none", err)
		}
		third, err := r2.encode()
		if err != nil || string(third) != string(again) {
			t.Errorf("got %s, %v, want %s", third, err, again)
		}
	})
}

func FuzzDecodeUsage(f *testing.F) {
	u := Usage{Up: 1, Down: math.MaxInt64, Days: map[int32]int64{-1: 5, 20000: math.MaxInt64}}
	for _, b := range [][]byte{u.encode(), {}, {0}, {0, 0}, {0, 0, 2, 1, 2, 1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := decodeUsage(b)
		if err != nil {
			return
		}
		if u.Up < 0 || u.Down < 0 || len(u.Days) > maxDays {
			t.Fatalf("got %v, want nothing negative and at most %d days", u, maxDays)
		}
		again, err := decodeUsage(u.encode())
		if err != nil || !reflect.DeepEqual(again, u) {
			t.Errorf("got %v, %v, want %v", again, err, u)
		}
	})
}
