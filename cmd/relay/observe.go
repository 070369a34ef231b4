package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"relay/relay/admin"
	"relay/relay/config"
)

// status is what relay status shows.
func (in *instance) status() admin.Status {
	snap := in.server.Snapshot()
	up, down := in.users.Totals()
	s := admin.Status{
		Version: version(), Started: snap.Began, Listen: snap.Listens, Live: snap.Live,
		Flows: snap.Flows, Packets: snap.Packets, Dropped: snap.Dropped, Ends: snap.Ends, Bytes: admin.Bytes{Up: up, Down: down},
		Strangers: admin.Strangers{Live: snap.Strangers, Bytes: admin.Bytes{Up: snap.StrangersUp, Down: snap.StrangersDown}},
		Users:     []admin.Activity{}, RSS: residentBytes(), FDs: openDescriptors(), FDLimit: descriptorLimit(),
	}
	for _, a := range in.users.Active() {
		s.Users = append(s.Users, admin.Activity{
			Name: a.Name, Sessions: a.Sessions, Bytes: admin.Bytes{Up: a.Up, Down: a.Down},
			Rate: admin.Bytes{Up: a.UpRate, Down: a.DownRate},
		})
	}
	slices.SortFunc(s.Users, func(a, b admin.Activity) int { return strings.Compare(a.Name, b.Name) })
	if err := in.users.SaveError(); err != nil {
		s.Trouble = "byte counters cannot be saved: " + err.Error()
	}
	in.mu.Lock()
	cfg, tabs, ups := in.cfg, in.tabs, in.upstreams
	s.Reloaded, s.Draining = moment(in.reloaded), in.draining
	in.mu.Unlock()
	if ups != nil {
		for _, w := range ups.set.States() {
			s.Upstreams = append(s.Upstreams, admin.Upstream{
				Name: w.Name, Live: w.Live, Streams: w.Streams, Opened: w.Opened, Took: w.Took, Score: w.Score,
				Failures: w.Failures, Trouble: w.Trouble, Failed: moment(w.Failed),
				Probed: moment(w.Probed), ProbeError: w.ProbeError,
			})
		}
	}
	for _, p := range used(cfg) {
		if p.report != nil {
			p.report(in.env(cfg, config.Listen{}), optionsOf(p.name, tabs), &s)
		}
	}
	return s
}

func (in *instance) writeMetrics(w io.Writer) error {
	admin.WriteMetrics(w, in.status(), in.config().Admin.UserLabels)
	return nil
}

// openMetrics listens for Prometheus where the configuration says, unless the
// relay does so already.
func (in *instance) openMetrics(a config.Admin) (net.Listener, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if a.Metrics == "" || in.metrics != nil && in.cfg.Admin.Metrics == a.Metrics {
		return nil, nil
	}
	ln, err := net.Listen("tcp", a.Metrics)
	if err != nil {
		return nil, listenHint(fmt.Errorf("metrics: %w", err))
	}
	return ln, nil
}

// isLoopbackHost reports whether a Host field names this machine.
func isLoopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// swapMetrics ends the old metrics port if it moved and serves the new one;
// under in.mu.
func (in *instance) swapMetrics(a config.Admin, fresh net.Listener) {
	if in.metrics != nil && (fresh != nil || a.Metrics == "") {
		_ = in.metrics.Close()
		in.metrics = nil
	}
	if fresh == nil {
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		// A page in a browser on this machine could otherwise read them under
		// a name of its own that leads to loopback.
		if !isLoopbackHost(r.Host) {
			http.Error(w, "this port serves loopback names only", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = in.writeMetrics(w)
	})
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(in.log.Handler(), slog.LevelDebug),
	}
	in.metrics = srv
	go func() { _ = srv.Serve(netutil.LimitListener(fresh, 16)) }()
}
