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
		Draining: new(Draining), Strangers: Strangers{7, Bytes{30, 40}},
		Upstreams: []Upstream{{Name: "exit.example", Live: true, Streams: 3, Opened: 9}, {Name: "other", Failures: 2}},
		DCs: []DC{
			{ID: 2, At: "203.0.113.7:443", Kind: Direct, State: Up, Ways: 4}, {ID: -2, At: "kws.example:443", Kind: WSS, State: Down, Ways: 4, WaysDown: 4},
			{ID: 4, At: "203.0.113.8:443", Kind: Direct, State: Untried, Ways: 3, WaysDown: 1, LastError: "refused"},
		},
	}
	want := map[string]float64{
		"relay_connections": 4, "relay_flows": 3, "relay_datagram_connections": 1, "relay_datagrams_dropped_total": 7, "relay_trouble": 1, "relay_draining": 1, "relay_users_active": 2, "relay_start_time_seconds": 1.7e9,
		`relay_bytes_total{direction="up"}`: 10, `relay_bytes_total{direction="down"}`: 20,
		`relay_connections_ended_total{status="ok"}`: 5, `relay_connections_ended_total{status="denied"}`: 6,
		"relay_strangers": 7, `relay_strangers_bytes_total{direction="up"}`: 30, `relay_strangers_bytes_total{direction="down"}`: 40,
		`relay_dc_up{dc="2"}`: 1, `relay_dc_up{dc="-2"}`: 0, `relay_dc_websocket{dc="2"}`: 0, `relay_dc_websocket{dc="-2"}`: 1,
		`relay_upstream_up{way="1"}`: 1, `relay_upstream_up{way="2"}`: 0, `relay_upstream_streams{way="1"}`: 3,
		`relay_upstream_streams_total{way="1"}`: 9, `relay_upstream_failures{way="2"}`: 2,
		`relay_dc_ways_down{dc="2"}`: 0, `relay_dc_ways_down{dc="-2"}`: 4, `relay_dc_ways_down{dc="4"}`: 1,
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
		if strings.Contains(k, "203.0.113") || strings.Contains(k, "example") {
			t.Errorf("got %s, want no address", k)
		}
	}
	if v, ok := got[`relay_dc_up{dc="4"}`]; ok {
		t.Errorf("a data centre that nobody has tried: got up %v, want nothing", v)
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
	if got := metricsOf(t, Status{}, true); got["relay_trouble"] != 0 || got["relay_draining"] != 0 {
		t.Errorf("no trouble: got %v and draining %v, want 0", got["relay_trouble"], got["relay_draining"])
	}
}
