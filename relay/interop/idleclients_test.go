package interop

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gotd/td/session"
	"github.com/gotd/td/telegram"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/tg"
)

const (
	idleClients = 1000
	keyClients  = 8  // make a key of their own, most of a CPU second each
	warmClients = 50 // are there before anything is measured
	idleSilence = 5 * time.Second

	// perClient is what an idle client may cost in resident bytes: between 2,700
	// and 3,300 were measured, and the collector's rest is part of it.
	perClient = 6_000
	// fewTasks is more than the relay has goroutines or threads with 100 clients, 44
	// and 7, and far less than one for each.
	fewTasks = 100
)

// TestTelegramIdle holds 1,000 Telegram clients that have nothing to say: what they
// cost, and whether all of them live.
func TestTelegramIdle(t *testing.T) {
	integration(t)
	dc, state := startDC(t, true), t.TempDir()
	r := publicPort(t, dc, state)
	alice := userCommand(t, "add", "alice", state)
	via, err := dcs.MTProxy(r.proxy("mtproto").Host, secretOf(t, alice, "ee"), dcs.MTProxyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := &clients{dc: dc, via: via}
	// Clients end before the relay does, which else would wait for them.
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); all.ends.Wait() })

	// One by one: gotd's server can take a key while it looks for none.
	for range keyClients {
		all.add(ctx, t, nil)
	}
	all.addMany(ctx, t, warmClients)
	all.ask(ctx, t)
	pause(t, 2*time.Second)
	startFDs, startRSS := r.fds(t), r.rss(t)

	began := time.Now()
	all.addMany(ctx, t, idleClients)
	t.Logf("%d clients have come in %v", idleClients-warmClients, time.Since(began).Round(time.Millisecond))
	const more = idleClients - warmClients
	rss := func() int { return r.rss(t) }
	pause(t, idleSilence)
	idle := settle(t, startRSS+more*perClient-1, 10*time.Second, rss)
	fds, threads := r.fds(t), r.tasks(t)
	all.ask(ctx, t)
	used := settle(t, startRSS+more*perClient-1, 10*time.Second, rss)

	t.Logf("VmRSS: %d kB with %d clients, %d kB with %d (%d bytes each), %d kB after a message on each (%d bytes each)",
		startRSS/1000, warmClients, idle/1000, idleClients, (idle-startRSS)/more, used/1000, (used-startRSS)/more)
	for _, c := range []struct {
		when string
		rss  int
	}{{"idle", idle}, {"after a message on each", used}} {
		if got := (c.rss - startRSS) / more; got >= perClient {
			t.Errorf("resident memory per client, %s: got %d bytes, want less than %d", c.when, got, perClient)
		}
	}
	if got := fds - startFDs; got != 2*more {
		t.Errorf("descriptors of %d clients: got %d, want %d", more, got, 2*more)
	}
	if got := dc.accepted.Load(); got != idleClients {
		t.Errorf("connections at the data centre: got %d, want %d: one for each client, and none made again", got, idleClients)
	}
	goroutines := r.dump(t)
	t.Logf("%d descriptors, %d threads, %d goroutines", fds, threads, goroutines)
	if threads > fewTasks || goroutines > fewTasks {
		t.Errorf("with %d clients: got %d threads and %d goroutines, want at most %d", idleClients, threads, goroutines, fewTasks)
	}
}

// clients are gotd's, each with a connection of its own.
type clients struct {
	dc   *dataCentre
	via  dcs.Resolver
	ends sync.WaitGroup

	mu   sync.Mutex
	key  []byte // a session that holds a key, as the first client stored it
	apis []*tg.Client
}

// add runs a client until ctx ends, and returns once it is connected. Without a
// session it makes a key first, as after a login; with one it comes back.
func (c *clients) add(ctx context.Context, t *testing.T, stored []byte) {
	t.Helper()
	storage := new(session.StorageMemory)
	if stored != nil {
		_ = storage.StoreSession(ctx, bytes.Clone(stored))
	}
	client := telegram.NewClient(1, "hash", telegram.Options{
		PublicKeys: []telegram.PublicKey{c.dc.key}, Resolver: c.via, DC: 2, DCList: c.dc.list,
		NoUpdates: true, SessionStorage: storage, CompressThreshold: -1,
	})
	connected, ended := make(chan struct{}), make(chan error, 1)
	c.ends.Go(func() {
		ended <- client.Run(ctx, func(ctx context.Context) error {
			close(connected)
			<-ctx.Done()
			return nil
		})
	})
	select {
	case <-connected:
	case err := <-ended:
		t.Errorf("client: got %v, want a connection", err)
		return
	case <-time.After(time.Minute):
		t.Error("client: got no connection in 1m, want one")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apis = append(c.apis, client.API())
	if c.key == nil {
		c.key, _ = storage.LoadSession(ctx)
	}
}

// addMany adds clients that have a key, a few at a time, until there are n.
func (c *clients) addMany(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	each(t, make([]struct{}, n-len(c.apis)), func(int) error {
		c.add(ctx, t, c.key)
		if t.Failed() {
			return fmt.Errorf("see above")
		}
		return nil
	})
}

// ask has each client ask the data centre something.
func (c *clients) ask(ctx context.Context, t *testing.T) {
	t.Helper()
	each(t, c.apis, func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		_, err := c.apis[i].HelpGetConfig(ctx)
		return err
	})
}

// tasks is the number of the relay's threads.
func (r *relay) tasks(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", r.pid()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// dump ends the relay with the stacks of its goroutines, and returns how many
// there were.
func (r *relay) dump(t *testing.T) int {
	t.Helper()
	r.over = true
	_ = r.cmd.Process.Signal(syscall.SIGQUIT)
	<-r.exited
	return strings.Count("\n"+r.stderr.String(), "\ngoroutine ")
}
