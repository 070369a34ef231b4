package admin

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/transport"
)

// sample is a line of Prometheus' text format, version 0.0.4.
var sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",? ?)*\})? (\S+)$`)

func metricsOf(t *testing.T, s Status, users bool) map[string]float64 {
	t.Helper()
	var b strings.Builder
	WriteMetrics(&b, s, users)
	out := make(map[string]float64)
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("got line %q, want a sample", line)
			continue
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if _, twice := out[m[1]+m[2]]; err != nil || twice {
			t.Errorf("got line %q, %v, twice %t, want a number once", line, err, twice)
		}
		out[m[1]+m[2]] = v
	}
	return out
}

func TestMetrics(t *testing.T) {
	s := Status{
		Started: time.Unix(1_700_000_000, 0), Live: 4, Flows: 3, Packets: 1, Dropped: 7, Bytes: Bytes{10, 20}, Trouble: "disk",
		Ends: map[transport.Status]int64{transport.OK: 5, transport.Denied: 6},
		Users: []Activity{
			{Name: "alice", Sessions: 2, Bytes: Bytes{1, 2}}, {Name: "idle"}, {Name: "", Sessions: 1, Bytes: Bytes{3, 4}},
			{Name: "qu\"o\\te\nd", Sessions: 1},
		},
	}
	want := map[string]float64{
		"relay_connections": 4, "relay_flows": 3, "relay_datagram_connections": 1, "relay_datagrams_dropped_total": 7, "relay_trouble": 1, "relay_users_active": 2, "relay_start_time_seconds": 1.7e9,
		`relay_bytes_total{direction="up"}`: 10, `relay_bytes_total{direction="down"}`: 20,
		`relay_connections_ended_total{status="ok"}`: 5, `relay_connections_ended_total{status="denied"}`: 6,
	}
	got := metricsOf(t, s, false)
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			t.Errorf("%s: got %v, present %t, want %v", k, g, ok, v)
		}
	}
	for k := range got {
		if strings.Contains(k, "alice") || strings.Contains(k, "user=") {
			t.Errorf("got %s, want no user names", k)
		}
	}
	got = metricsOf(t, s, true)
	for k, v := range map[string]float64{
		`relay_user_sessions{user="alice"}`: 2, `relay_user_bytes_total{user="alice",direction="down"}`: 2,
		`relay_user_bytes_total{user="",direction="up"}`: 3,
	} {
		if g, ok := got[k]; !ok || g != v {
			t.Errorf("%s: got %v, present %t, want %v", k, g, ok, v)
		}
	}
	if got := metricsOf(t, Status{}, true)["relay_trouble"]; got != 0 {
		t.Errorf("no trouble: got %v, want 0", got)
	}
}
