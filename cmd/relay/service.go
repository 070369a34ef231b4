package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"relay/relay"
)

// heldSockets are sockets that the service manager opened for us
// (sd_listen_fds(3)). They are used for the listeners at the same addresses.
type heldSockets struct {
	mu  sync.Mutex
	lns map[netip.AddrPort]net.Listener
}

func activated() (*heldSockets, error) {
	h := &heldSockets{lns: make(map[netip.AddrPort]net.Listener)}
	lns, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	for _, ln := range lns {
		if ln == nil {
			continue
		}
		if t, ok := ln.Addr().(*net.TCPAddr); ok {
			h.lns[t.AddrPort()] = ln
		}
	}
	return h, nil
}

// listen hands over the socket that is there already, or opens one.
func (h *heldSockets) listen(ctx context.Context, address string, backlog int) (net.Listener, error) {
	if ap, ok := listenAddr(address); ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		for have, ln := range h.lns {
			if sameListener(have, ap) {
				delete(h.lns, have)
				return ln, nil
			}
		}
	}
	return relay.Listen(ctx, address, backlog)
}

// listenAddr reads an address of the configuration; an empty host is any.
func listenAddr(address string) (netip.AddrPort, bool) {
	if strings.HasPrefix(address, ":") {
		address = "[::]" + address
	}
	ap, err := netip.ParseAddrPort(address)
	return ap, err == nil
}

// sameListener takes 0.0.0.0 and :: for the same place, as a socket that
// accepts both families may be given as either.
func sameListener(a, b netip.AddrPort) bool {
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return a.Port() == b.Port() && (x == y || x.IsUnspecified() && y.IsUnspecified())
}

// unused are the addresses that no listener asked for.
func (h *heldSockets) unused() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for ap := range h.lns {
		out = append(out, ap.String())
	}
	return out
}

// notifier tells the service manager how we are (sd_notify(3)); without one it
// does nothing.
type notifier struct {
	end  chan struct{}
	once sync.Once
}

func newNotifier() *notifier {
	n := &notifier{end: make(chan struct{})}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return n
	}
	go func() {
		t := time.NewTicker(every / 2)
		defer t.Stop()
		for {
			select {
			case <-n.end:
				return
			case <-t.C:
				notify(daemon.SdNotifyWatchdog)
			}
		}
	}()
	return n
}

func notify(state string) { _, _ = daemon.SdNotify(false, state) }

func (n *notifier) ready()     { notify(daemon.SdNotifyReady) }
func (n *notifier) reloading() { notify(daemon.SdNotifyReloading + "\n" + monotonic()) }

// stopping asks for as much time as draining may take.
func (n *notifier) stopping(limit time.Duration) {
	notify(daemon.SdNotifyStopping + "\nEXTEND_TIMEOUT_USEC=" + strconv.FormatInt((limit+10*time.Second).Microseconds(), 10))
}

func (n *notifier) stop() { n.once.Do(func() { close(n.end) }) }

// monotonic is the time stamp that sd_notify wants beside RELOADING=1; where it
// cannot be read the manager does without.
func monotonic() string {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return ""
	}
	f, _, _ := strings.Cut(string(b), " ")
	s, err := strconv.ParseFloat(f, 64)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("MONOTONIC_USEC=%d", int64(s*1e6))
}
