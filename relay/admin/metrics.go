package admin

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// WriteMetrics writes a status in the Prometheus text format. User names
// appear only with users set: they are the operator's to publish.
func WriteMetrics(w io.Writer, s Status, users bool) {
	metrics.WriteGaugeUint64(w, "relay_connections", uint64(s.Live))
	metrics.WriteGaugeUint64(w, "relay_flows", uint64(s.Flows))
	metrics.WriteGaugeUint64(w, "relay_datagram_connections", uint64(s.Packets))
	metrics.WriteCounterUint64(w, "relay_datagrams_dropped_total", uint64(s.Dropped))
	for _, st := range slices.Sorted(maps.Keys(s.Ends)) {
		metrics.WriteCounterUint64(w, fmt.Sprintf("relay_connections_ended_total{status=%q}", st), uint64(s.Ends[st]))
	}
	metrics.WriteCounterUint64(w, `relay_bytes_total{direction="up"}`, uint64(s.Bytes.Up))
	metrics.WriteCounterUint64(w, `relay_bytes_total{direction="down"}`, uint64(s.Bytes.Down))
	metrics.WriteGaugeUint64(w, "relay_strangers", uint64(s.Strangers.Live))
	metrics.WriteCounterUint64(w, `relay_strangers_bytes_total{direction="up"}`, uint64(s.Strangers.Bytes.Up))
	metrics.WriteCounterUint64(w, `relay_strangers_bytes_total{direction="down"}`, uint64(s.Strangers.Bytes.Down))
	active := 0
	for _, u := range s.Users {
		if u.Sessions > 0 && u.Name != "" {
			active++
		}
	}
	metrics.WriteGaugeUint64(w, "relay_users_active", uint64(active))
	metrics.WriteGaugeUint64(w, "relay_start_time_seconds", uint64(s.Started.Unix()))
	writeBool(w, "relay_trouble", s.Trouble != "")
	writeBool(w, "relay_draining", s.Draining != nil)
	writeDCs(w, s.DCs)
	writeUpstreams(w, s.Upstreams)
	if users {
		for _, u := range s.Users {
			name := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(u.Name)
			metrics.WriteGaugeUint64(w, `relay_user_sessions{user="`+name+`"}`, uint64(u.Sessions))
			metrics.WriteCounterUint64(w, `relay_user_bytes_total{user="`+name+`",direction="up"}`, uint64(u.Bytes.Up))
			metrics.WriteCounterUint64(w, `relay_user_bytes_total{user="`+name+`",direction="down"}`, uint64(u.Bytes.Down))
		}
	}
	metrics.WriteProcessMetrics(w)
}

// writeDCs writes what is known of data centres. The number is the only label:
// an address would be a new series whenever one fails.
func writeDCs(w io.Writer, dcs []DC) {
	for _, d := range dcs {
		label := fmt.Sprintf("{dc=\"%d\"}", d.ID)
		if d.State != Untried {
			writeBool(w, "relay_dc_up"+label, d.State == Up)
		}
		writeBool(w, "relay_dc_websocket"+label, d.Kind == WSS)
		metrics.WriteGaugeUint64(w, "relay_dc_ways_down"+label, uint64(d.WaysDown))
	}
}

// writeUpstreams writes the ways to other relays. The label is the place in the
// configuration: a name is the operator's own business.
func writeUpstreams(w io.Writer, ups []Upstream) {
	for i, u := range ups {
		label := fmt.Sprintf("{way=\"%d\"}", i+1)
		metrics.WriteGaugeFloat64(w, "relay_upstream_score"+label, u.Score)
		writeBool(w, "relay_upstream_up"+label, u.Live)
		metrics.WriteGaugeUint64(w, "relay_upstream_streams"+label, uint64(u.Streams))
		metrics.WriteCounterUint64(w, "relay_upstream_streams_total"+label, uint64(u.Opened))
		metrics.WriteGaugeUint64(w, "relay_upstream_failures"+label, uint64(u.Failures))
	}
}

func writeBool(w io.Writer, name string, yes bool) {
	n := uint64(0)
	if yes {
		n = 1
	}
	metrics.WriteGaugeUint64(w, name, n)
}
