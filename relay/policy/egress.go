package policy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"relay/transport"
)

// maxAddrs bounds how many addresses of one name are tried. More than that is
// a name made to keep the relay busy.
const maxAddrs = 8

// unhurried is how many bytes of early payload go out without a deadline: a
// connection just made has an empty send buffer of at least this size on every
// system, so the write cannot block, and the timer is saved.
const unhurried = 4 << 10

// Options is what an [Egress] is made from.
type Options struct {
	Config Config
	DNS    DNS
	// Own lists the relay's listeners as bound, wildcards included, and any
	// address in front of them that leads back to them (a public address
	// behind NAT). It is asked at every check, must be cheap, and its slice is
	// only read. May be nil.
	Own func() []netip.AddrPort
	// Interfaces lists the addresses of this machine. nil: asks the system.
	// It is asked at most once a minute.
	Interfaces func() ([]netip.Addr, error)
}

// Egress is the direct way out: policy, resolver and dialer. It is safe for
// concurrent use and needs no closing; whatever it starts ends with the calls
// that asked for it.
type Egress struct {
	allow, deny, presets *ruleSet
	onlyPresets          bool
	ranges               *bart.Table[*DeniedError]
	machine              *machine
	own                  func() []netip.AddrPort

	timeout time.Duration
	names   *cache
	dialer  net.Dialer     // without a source address
	source4 netip.AddrPort // invalid: the system chooses
	source6 netip.AddrPort
	// connect makes one connection; a test puts its own here.
	connect func(ctx context.Context, to netip.AddrPort) (transport.Conn, error)
}

var _ transport.DirectDialer = (*Egress)(nil)

// New returns an Egress, or the first fault of the configuration.
func New(o Options) (*Egress, error) {
	if err := firstFault(&o.Config, &o.DNS); err != nil {
		return nil, err
	}
	e := &Egress{
		onlyPresets: len(o.Config.Presets) > 0,
		ranges:      newRanges(),
		own:         o.Own,
		timeout:     o.Config.DialTimeout,
	}
	if e.timeout == 0 {
		e.timeout = DefaultDialTimeout
	}
	if err := e.setRules(&o.Config); err != nil {
		return nil, err
	}
	if o.Interfaces == nil {
		o.Interfaces = interfaceAddrs
	}
	var err error
	if e.machine, err = newMachine(o.Interfaces); err != nil {
		return nil, err
	}
	res, err := newResolver(&o.DNS)
	if err != nil {
		return nil, err
	}
	e.names = newCache(res.lookup, res.timeout)
	e.connect = e.dialTCP
	e.dialer = net.Dialer{
		Timeout:       e.timeout,
		KeepAlive:     -1, // the splice core watches for idleness; probes would only cost system calls
		FallbackDelay: -1, // one address at a time is dialled
		Resolver:      noResolver,
	}
	for _, s := range o.Config.Source {
		a, err := parseSource(s)
		switch {
		case err != nil:
			return nil, err
		case a.Is4():
			e.source4 = netip.AddrPortFrom(a, 0)
		default:
			e.source6 = netip.AddrPortFrom(a, 0)
		}
	}
	return e, nil
}

func firstFault(c *Config, d *DNS) error {
	var first error
	keep := func(table string) func(key, problem, hint string) {
		return func(key, problem, _ string) {
			if first == nil {
				first = fmt.Errorf("policy: %s.%s: %s", table, key, problem)
			}
		}
	}
	c.Check(keep("egress"))
	d.Check(keep("dns"))
	return first
}

func (e *Egress) setRules(c *Config) error {
	allow, err := parseRules(c.Allow)
	if err != nil {
		return err
	}
	deny, err := parseRules(c.Deny)
	if err != nil {
		return err
	}
	var listed []rule
	for _, name := range c.Presets {
		rules, err := presetRules(name)
		if err != nil {
			return err
		}
		listed = append(listed, rules...)
	}
	e.allow, e.deny, e.presets = newRuleSet(allow), newRuleSet(deny), newRuleSet(listed)
	return nil
}

// DialStream checks the target, resolves it if it is a name, checks every
// address, and connects to the first that answers (RFC 8305). early is written
// as soon as there is a connection. The Conn is a *net.TCPConn; the caller
// closes it.
func (e *Egress) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	if err := e.Check(to); err != nil {
		return nil, err
	}
	var c transport.Conn
	var err error
	if to.IsName() {
		c, err = e.dialName(ctx, to.Name(), to.Port())
	} else {
		c, err = e.connect(ctx, netip.AddrPortFrom(to.Addr(), to.Port()))
	}
	if err != nil {
		if errors.Is(err, ErrDenied) {
			return nil, err
		}
		return nil, failure("dial", err)
	}
	if len(early) > 0 {
		if err := e.writeEarly(c, early); err != nil {
			_ = c.Close()
			return nil, failure("write early payload", err)
		}
	}
	return c, nil
}

// Direct implements transport.DirectDialer: known for literal addresses, unless a
// source address is configured.
func (e *Egress) Direct(to transport.Target) (hop transport.Hop, known bool, err error) {
	if to.IsName() || e.source4.IsValid() || e.source6.IsValid() {
		return transport.Hop{}, false, nil
	}
	if err := e.Check(to); err != nil {
		return transport.Hop{}, false, err
	}
	return transport.Hop{Addr: netip.AddrPortFrom(to.Addr(), to.Port()), Timeout: e.timeout}, true, nil
}

// Failed implements transport.DirectDialer.
func (e *Egress) Failed(err error) error { return failure("dial", err) }

func (e *Egress) writeEarly(c transport.Conn, early []byte) error {
	if len(early) <= unhurried {
		_, err := c.Write(early)
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(e.timeout)); err != nil {
		return err
	}
	if _, err := c.Write(early); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}

// dialName resolves and connects under one time limit.
func (e *Egress) dialName(ctx context.Context, name string, port uint16) (transport.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	addrs, err := e.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := e.admit(addrs, port)
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		return e.connect(ctx, list[0])
	}
	return e.race(ctx, list)
}

// resolve answers for the localhost names itself: RFC 6761, Section 6.3, item
// 3 wants that they are never sent to a name server, which could lie.
func (e *Egress) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if tied := tiedTo(name); len(tied) > 0 && tied[0].IsLoopback() {
		return tied, nil
	}
	return e.names.lookup(ctx, name)
}

// admit drops the addresses that policy refuses and puts the rest in the order
// to try. If none is left the error is the refusal of the first.
func (e *Egress) admit(addrs []netip.Addr, port uint16) ([]netip.AddrPort, error) {
	var first *DeniedError
	list := make([]netip.AddrPort, 0, min(len(addrs), maxAddrs))
	for _, a := range interleave(addrs) {
		a = a.Unmap()
		if d := e.refuseAddr(a, unwrap(a), port); d != nil {
			if first == nil {
				first = d
			}
			continue
		}
		if list = append(list, netip.AddrPortFrom(a, port)); len(list) == maxAddrs {
			break
		}
	}
	switch {
	case len(list) > 0:
		return list, nil
	case first != nil:
		return nil, first
	}
	return nil, ErrNotFound
}

// noResolver stands behind the dialer, which only ever gets literal addresses:
// should that change, no name is looked up behind the back of the check.
var noResolver = &net.Resolver{
	PreferGo: true,
	Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("policy: the dialer does not resolve")
	},
}

// dialTCP connects to exactly this address.
//
// Without a source address it must not be net.Dialer.DialTCP: with the zero
// AddrPort that binds to 0.0.0.0:0 before it connects (Go 1.26, seen with
// strace), and a port chosen by bind is taken for all destinations, which ends
// a busy relay at some 28,000 connections. DialContext parses the literal back
// and leaves the port to connect(2).
func (e *Egress) dialTCP(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
	source := e.source6
	if to.Addr().Is4() {
		source = e.source4
	}
	if !source.IsValid() {
		c, err := e.dialer.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	}
	d := e.dialer
	d.Control = latePort
	c, err := d.DialTCP(ctx, "tcp", source, to)
	if err != nil {
		return nil, err
	}
	return c, nil
}
