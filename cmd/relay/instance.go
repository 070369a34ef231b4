package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/policy"
	"relay/relay/splice"
	"relay/transport"
)

// instance is a relay in this process: everything that serve and quickstart
// start, and stop again.
type instance struct {
	log    *slog.Logger
	state  string // the folder
	store  *auth.Store
	users  *auth.Users
	server *relay.Server
	admin  *admin.Server

	// again reads the configuration for a reload.
	again     func() (*config.Config, []config.Table, error)
	reloading sync.Mutex // one at a time, so that the last one read is in force

	mu       sync.Mutex
	cfg      *config.Config
	tabs     []config.Table
	metrics  *http.Server
	endParts func() // ends what runs in parts
	endRush  func() // ends giveBack, which is one of them
	parts    sync.WaitGroup
	draining *admin.Draining // by stop; never changed

	keeping  sync.Mutex
	kept     map[string]any // by part
	cover    *coverOf
	reloaded time.Time

	upstreams *upstreams   // nil: targets are dialled directly
	retired   []*upstreams // with the last streams of former configurations
}

// start opens the state, the listeners and the control socket. On an error
// everything is closed again.
func start(cfg *config.Config, tabs []config.Table, log *slog.Logger, listen listenFunc) (_ *instance, err error) {
	if os.Getenv("GOGC") == "" {
		// The heap is small and the garbage is that of openings. Collecting
		// twice as often costs 1 % of a short connection and saves a fifth of
		// what an idle one costs in memory.
		debug.SetGCPercent(50)
	}
	in := &instance{log: log, state: cfg.State}
	defer func() {
		if err != nil {
			in.release()
		}
	}()
	if in.store, err = auth.OpenStore(cfg.State); err != nil {
		return nil, storeHint(err)
	}
	if err := closed(cfg.State); err != nil {
		log.Warn("state folder", "problem", withHint(err))
	}
	if n := descriptorLimit(); n < fewDescriptors {
		log.Warn("few descriptors: raise the limit with LimitNOFILE= or ulimit -n", "limit", n, "connections", connectionsFor(n))
	}
	in.users = auth.NewUsers(in.store, log)
	in.server = relay.New(relay.Options{
		Log: log, Users: in.users, Splice: splice.New(0), Listen: listen,
	})
	// Before apply, which may change users' places: then nothing fails any more.
	control, err := admin.Listen(cfg.State)
	if err != nil {
		return nil, err
	}
	if err := in.apply(cfg, tabs); err != nil {
		_ = control.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	in.endRush = cancel
	in.parts.Go(func() { giveBack(ctx, in.work, in.server.Trim) })
	b := backend(in.users, in.linker)
	b.Status, b.Reload, b.Metric = in.status, in.reload, in.writeMetrics
	in.admin = admin.Serve(control, admin.Handler(b), log)
	return in, nil
}

type listenFunc = func(ctx context.Context, address string, backlog int) (net.Listener, error)

// apply puts a configuration into force, or leaves everything as it is.
func (in *instance) apply(cfg *config.Config, tabs []config.Table) error {
	notes, err := load(cfg, tabs)
	if err != nil {
		return err
	}
	egress, err := policy.New(policy.Options{Config: cfg.Egress, DNS: cfg.DNS, Own: in.server.Own})
	if err != nil {
		return err
	}
	metrics, err := in.openMetrics(cfg.Admin)
	if err != nil {
		return err
	}
	in.mu.Lock()
	before := in.cover
	in.mu.Unlock()
	cover, err := openCover(in.env(cfg, config.Listen{}), tabs, before, in.server.Own)
	if err != nil {
		return errors.Join(err, closeMetrics(metrics))
	}
	set := relay.Settings{Dialer: egress, Limits: limits(cfg.Limits)}
	ups, err := in.openUpstreams(cfg, tabs, egress)
	if err != nil {
		cover.discard(before)
		return errors.Join(err, closeMetrics(metrics))
	}
	if ups != nil {
		set.Dialer = ups.set
	}
	set.Ready = func() error {
		more, err := prepare(cfg, tabs, in.users)
		notes = append(notes, more...)
		return err
	}
	if set.Listeners, err = in.listeners(cfg, tabs, cover); err != nil {
		cover.discard(before)
		in.discard(ups)
		return errors.Join(err, closeMetrics(metrics))
	}
	for _, l := range cfg.Listen {
		set.Public = append(set.Public, publicAddrs(l)...)
	}
	if ap, ok := listenAddr(cfg.Admin.Metrics); ok {
		set.Public = append(set.Public, ap) // not a listener of the flow, but ours
	}
	if err := in.server.Apply(set); err != nil {
		cover.discard(before)
		in.discard(ups)
		return listenHint(errors.Join(err, closeMetrics(metrics)))
	}
	for _, n := range notes {
		in.log.Warn(string(n))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.swapMetrics(cfg.Admin, metrics)
	cover.take(before)
	if cover != before {
		before.retire(cfg.Limits.DrainTimeout)
	}
	in.cfg, in.tabs, in.cover = cfg, tabs, cover
	if old := in.upstreams; old != nil && old != ups {
		in.retire(old, cfg.Limits.DrainTimeout)
	}
	if ups != nil {
		ups.set.Judge(egress.Check, directOf(cfg, egress))
	}
	in.upstreams = ups
	in.runParts(set.Dialer, cover)
	return nil
}

// discard closes upstreams that are not in force.
func (in *instance) discard(ups *upstreams) {
	in.mu.Lock()
	mine := in.upstreams == ups
	in.mu.Unlock()
	if !mine {
		ups.close()
	}
}

// runParts starts what parts do beside the flow, in place of what they did for
// the configuration before; under in.mu.
func (in *instance) runParts(out transport.Dialer, cover *coverOf) {
	if in.endParts != nil {
		in.endParts()
	}
	ctx, cancel := context.WithCancel(context.Background())
	in.endParts = cancel
	e := in.env(in.cfg, config.Listen{})
	e.dialer = out
	for _, p := range used(in.cfg) {
		if p.run != nil {
			in.parts.Go(func() { p.run(ctx, e, optionsOf(p.name, in.tabs), cover) })
		}
	}
}

// env is what parts get for a listener.
func (in *instance) env(cfg *config.Config, l config.Listen) env {
	return env{
		cfg: cfg, listen: l, anonymous: l.Anonymous != "", users: in.users, log: in.log, keep: in.keep, sink: in.server.Sink,
		verify: func(label string) verifier {
			return func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error) {
				return in.users.Verify(ctx, label, source, name, password)
			}
		},
	}
}

// keep is env's.
func (in *instance) keep(name string, make func() any) any {
	in.keeping.Lock()
	defer in.keeping.Unlock()
	if in.kept == nil {
		in.kept = map[string]any{}
	}
	if in.kept[name] == nil {
		in.kept[name] = make()
	}
	return in.kept[name]
}

// endKept ends what parts have kept, before another process can have the store.
func (in *instance) endKept() {
	in.keeping.Lock()
	defer in.keeping.Unlock()
	for _, p := range parts {
		if kept := in.kept[p.name]; kept != nil && p.end != nil {
			p.end(kept, in.state, in.log)
		}
	}
	in.kept = nil
}

func closeMetrics(ln net.Listener) error {
	if ln == nil {
		return nil
	}
	return ln.Close()
}

// publicAddrs are the literal addresses among the public ones of a listener.
func publicAddrs(l config.Listen) []netip.AddrPort {
	var out []netip.AddrPort
	own, ok := listenAddr(l.Address)
	for _, host := range l.Public {
		if ip, err := netip.ParseAddr(host); ok && err == nil {
			out = append(out, netip.AddrPortFrom(ip, own.Port()))
		}
	}
	return out
}

// limits turns the configuration's words into the flow's.
func limits(l config.Limits) relay.Limits {
	out := relay.Limits{
		Handshake: l.HandshakeTimeout, Idle: l.IdleTimeout, Fin: l.FinTimeout,
		Connections: l.Connections, PerSource: l.PerSource, Backlog: l.Backlog,
		Burst:       relay.Burst{Size: l.Burst, PerSecond: l.BurstPerSecond},
		Descriptors: 2 * connectionsFor(descriptorLimit()),
	}
	if len(l.Trusted) > 0 {
		out.Trusted = ranges(l.Trusted).Contains
	}
	return out
}

// fewDescriptors is worth a warning.
const fewDescriptors = 4096

// connectionsFor leaves descriptors for listeners, the database, pipes and
// lookups; a connection and its target take two.
func connectionsFor(fds uint64) int {
	const reserve = 768 // most of it pipes, two descriptors each
	if fds <= 2*reserve {
		return int(fds / 4)
	}
	return int(min((fds-reserve)/2, 1<<24))
}

// listenHint says what to do about the usual reasons.
func listenHint(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return hinted{err, "Another program uses that port, perhaps a relay that already runs. Stop it or choose another port."}
	case errors.Is(err, syscall.EACCES):
		return hinted{err, "Ports below 1024 need root, CAP_NET_BIND_SERVICE or a socket of the service manager. Choose a higher port, such as 1080."}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hinted{err, "This machine does not have that address. A VM behind NAT listens on its private one, or on 0.0.0.0, and names the public one in public = […]."}
	}
	return err
}

// reload reads the configuration again. A bad one changes nothing.
func (in *instance) reload() error {
	if in.again == nil {
		return errors.New("this relay has no configuration file to read again")
	}
	in.reloading.Lock()
	defer in.reloading.Unlock()
	cfg, tabs, err := in.again()
	if err == nil && cfg.State != in.config().State {
		err = fmt.Errorf("state = %q: the state folder cannot change while the relay runs; restart it", cfg.State)
	}
	if err == nil {
		err = in.apply(cfg, tabs)
	}
	if err != nil {
		in.log.Error("reload refused, the running configuration stays", "error", err)
		return err
	}
	in.mu.Lock()
	in.reloaded = time.Now()
	in.mu.Unlock()
	in.log.Info("configuration reloaded")
	return nil
}

func (in *instance) config() *config.Config {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.cfg
}

func (in *instance) linker() linker {
	in.mu.Lock()
	defer in.mu.Unlock()
	k := linkerOf(in.cfg, in.tabs, in.users)
	k.bound = in.server.Addrs()
	return k
}

func (in *instance) links(r *auth.Record) []link { return in.linker().links(r) }

// stop drains for at most limit, or until ctx ends, and closes everything.
func (in *instance) stop(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	in.mu.Lock()
	in.draining = &admin.Draining{Since: began, Until: began.Add(limit)}
	in.endParts()
	in.mu.Unlock()
	drained := make(chan struct{})
	go func() {
		in.cover.close(ctx)
		close(drained)
	}()
	cut := in.server.Shutdown(ctx)
	<-drained
	in.log.Info("stopped", "after", time.Since(began).Round(time.Millisecond), "cut", cut)
	in.release()
}

func (in *instance) release() {
	if in.admin != nil {
		_ = in.admin.Close()
	}
	in.mu.Lock()
	if in.metrics != nil {
		_ = in.metrics.Close()
	}
	in.mu.Unlock()
	if in.server != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		in.server.Shutdown(ctx)
	}
	in.mu.Lock()
	in.cover.retire(0)
	in.cover = nil
	for _, u := range append(in.retired, in.upstreams) {
		u.close()
	}
	in.upstreams = nil
	if in.endParts != nil {
		in.endParts()
	}
	in.mu.Unlock()
	if in.endRush != nil {
		in.endRush()
	}
	in.parts.Wait()
	in.endKept()
	if in.users != nil {
		if err := in.users.Close(); err != nil {
			in.log.Error("the last byte counters are lost", "error", err)
		}
	}
	if in.store != nil {
		_ = in.store.Close()
	}
}
