package policy

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// machineRefresh is how old the list of this machine's addresses may get.
// Reading it costs a netlink dump, too much for every connection.
const machineRefresh = time.Minute

// machine knows the addresses of this machine's interfaces.
type machine struct {
	read  func() ([]netip.Addr, error)
	start time.Time
	next  atomic.Int64 // since start, when to read again
	addrs atomic.Pointer[map[netip.Addr]struct{}]
}

func newMachine(read func() ([]netip.Addr, error)) (*machine, error) {
	m := &machine{read: read, start: time.Now()}
	if err := m.refresh(); err != nil {
		// Without the list the relay would hand out its own machine.
		return nil, fmt.Errorf("policy: read interface addresses: %w", err)
	}
	m.next.Store(int64(machineRefresh))
	return m, nil
}

func (m *machine) refresh() error {
	list, err := m.read()
	if err != nil {
		return err
	}
	set := make(map[netip.Addr]struct{}, len(list))
	for _, a := range list {
		set[a.Unmap().WithZone("")] = struct{}{}
	}
	m.addrs.Store(&set)
	return nil
}

// has reports whether a is an address of this machine. Whoever comes first
// after the list has grown old reads it anew; if that fails, the old one stays.
func (m *machine) has(a netip.Addr) bool {
	now := int64(time.Since(m.start))
	if next := m.next.Load(); now >= next && m.next.CompareAndSwap(next, now+int64(machineRefresh)) {
		_ = m.refresh()
	}
	_, ok := (*m.addrs.Load())[a]
	return ok
}

// interfaceAddrs asks the system.
func interfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// IsOwn reports whether connecting to an address leads back to this relay, for those who
// connect to others than targets.
func (e *Egress) IsOwn(to netip.AddrPort) bool { return e.isOwn(to.Addr().Unmap(), to.Port()) }

// isOwn reports whether a:port is one of the relay's listeners. A listener on
// the wildcard is reached by every address of this machine; so is every
// listener by the unspecified address, which connects to this machine too.
func (e *Egress) isOwn(a netip.Addr, port uint16) bool {
	if e.own == nil {
		return false
	}
	for _, l := range e.own() {
		if l.Port() != port {
			continue
		}
		la := l.Addr().Unmap()
		if la == a || a.IsUnspecified() {
			return true
		}
		// 0.0.0.0 does not take IPv6, but a name with both kinds of address
		// must not get past on a difference of bind options.
		if (!la.IsValid() || la.IsUnspecified()) && (a.IsLoopback() || e.machine.has(a)) {
			return true
		}
	}
	return false
}
