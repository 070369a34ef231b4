package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"relay/relay/config"
	"relay/relay/forward"
	"relay/relay/policy"
	"relay/transport"
)

// forwardAgrees checks [forward] against the listeners that name it.
func forwardAgrees(options any, c *config.Config, fault faultFunc) {
	o := options.(*forward.Options)
	var on []string
	for i, l := range c.Listen {
		if !slices.Contains(l.Inbounds, "forward") {
			continue
		}
		on = append(on, strconv.Quote(l.Address))
		if l.Anonymous == "" {
			hint := `write anonymous = "public" if everyone who reaches this port may reach the target`
			if ap, ok := listenAddr(l.Address); ok && ap.Addr().IsLoopback() {
				hint = "write anonymous = true"
			}
			fault(fmt.Sprintf("listen[%d].anonymous", i), "forward cannot ask for a password, and this listener is for users only", hint)
		}
		if _, ok := o.For(l.Address); !ok {
			fault("forward.target", fmt.Sprintf("missing for the listener %q", l.Address), `write target = "example.org:443" below [forward], or one for this address in targets`)
		}
	}
	hint := "no listener has forward among its inbounds"
	if len(on) > 0 {
		hint = "write it as [[listen]] does; those with forward: " + strings.Join(on, ", ")
	}
	for _, address := range slices.Sorted(maps.Keys(o.Targets)) {
		if !slices.Contains(on, strconv.Quote(address)) {
			fault("forward."+forward.TargetsKey(address), "not the address of a listener with forward", hint)
		}
	}
}

// forwardFindings warns of targets that the policy refuses, and of inbounds
// whose turn never comes.
func forwardFindings(cfg *config.Config, l config.Listen, options any) []finding {
	var out []finding
	if i := slices.Index(l.Inbounds, "forward"); i < len(l.Inbounds)-1 {
		out = append(out, finding(fmt.Sprintf("%s: forward takes every connection, so %s will never be asked; list forward last", l.Address, strings.Join(l.Inbounds[i+1:], ", "))))
	}
	to, _ := options.(*forward.Options).For(l.Address)
	d, refused := errors.AsType[*policy.DeniedError](judge(cfg, to))
	if !refused {
		return out
	}
	text := fmt.Sprintf("%s: forward to %s will be refused: %s", l.Address, to, d.Reason)
	// localhost is opened by what it stands for, not by its name.
	for _, rule := range []string{to.String(), net.JoinHostPort("127.0.0.1", strconv.Itoa(int(to.Port())))} {
		open := *cfg
		open.Egress.Allow = append(slices.Clone(cfg.Egress.Allow), rule)
		if judge(&open, to) == nil {
			text += fmt.Sprintf("; to open it, add %q to allow below [egress]", rule)
			break
		}
	}
	return append(out, finding(text))
}

// judge asks the policy of a configuration about a target as written.
func judge(cfg *config.Config, to transport.Target) error {
	egress, err := egressOf(cfg)
	if err != nil {
		return err
	}
	return egress.Check(to)
}

// egressOf is the policy of a configuration that is not in force.
func egressOf(cfg *config.Config) (*policy.Egress, error) {
	own := ownAddrs(cfg)
	return policy.New(policy.Options{Config: cfg.Egress, DNS: cfg.DNS, Own: func() []netip.AddrPort { return own }})
}

// ownAddrs are the addresses of a relay with a configuration.
func ownAddrs(cfg *config.Config) []netip.AddrPort {
	var own []netip.AddrPort
	add := func(address string) {
		if ap, ok := listenAddr(address); ok && ap.Port() != 0 {
			own = append(own, ap)
		}
	}
	for _, l := range cfg.Listen {
		add(l.Address)
		own = append(own, publicAddrs(l)...)
	}
	add(cfg.Cover.HTTP)
	add(cfg.Admin.Metrics)
	return own
}
