package policy

import (
	"net/netip"

	"relay/transport"
)

// Check judges a target as written, without resolving: all there is to judge
// for a literal address, and for a name everything but its addresses. An entry
// that dials through an upstream uses it alone. The error is a [DeniedError].
func (e *Egress) Check(to transport.Target) error {
	switch {
	case !to.IsValid():
		return errInvalidTarget
	case to.IsName():
		return e.checkName(to.Name(), to.Port())
	}
	return e.checkLiteral(to.Addr(), to.Port())
}

func (e *Egress) checkLiteral(a netip.Addr, port uint16) error {
	a = a.Unmap()
	inner := unwrap(a)
	if d := e.refuseAddr(a, inner, port); d != nil {
		return d
	}
	m := e.allow.addr(a, inner, port).or(e.allow.any(port)).or(e.presets.addr(a, inner, port))
	return e.approve(m, port)
}

// checkName is steps 2 and 4 to 6 of the package comment, for a name.
func (e *Egress) checkName(name string, port uint16) error {
	if e.deny.any(port).ok || e.deny.name(name, port).ok {
		return denyRule
	}
	if tied := tiedTo(name); tied != nil {
		var m match
		for _, a := range tied {
			m = m.or(e.allow.addr(a, netip.Addr{}, port))
		}
		if !m.ok {
			return denyName
		}
		return e.approve(m, port)
	}
	allowed := e.allow.name(name, port)
	if d := localName(name); d != nil && !allowed.ok {
		return d
	}
	return e.approve(allowed.or(e.allow.any(port)).or(e.presets.name(name, port)), port)
}

// approve is steps 5 and 6, given what the allow rules and presets say.
func (e *Egress) approve(m match, port uint16) error {
	if isMail(port) && !m.named {
		return denySMTP
	}
	if e.onlyPresets && !m.ok {
		return denyPreset
	}
	return nil
}

// refuseAddr is steps 1 to 3, for a literal address and for every address that
// a name resolves to. a is not IPv4-mapped; inner is what it wraps, or invalid.
func (e *Egress) refuseAddr(a, inner netip.Addr, port uint16) *DeniedError {
	if a.Zone() != "" {
		// A zone is an interface of this machine, nothing public.
		return denyZone
	}
	if e.isOwn(a, port) || inner.IsValid() && e.isOwn(inner, port) {
		return denyOwn
	}
	if e.deny.any(port).ok || e.deny.addr(a, inner, port).ok {
		return denyRule
	}
	if e.allow.addr(a, inner, port).ok {
		return nil
	}
	if d, _ := e.ranges.Lookup(a); d != nil {
		return d
	}
	if e.machine.has(a) {
		return denyMachine
	}
	if inner.IsValid() {
		return e.refuseInner(inner)
	}
	return nil
}

func (e *Egress) refuseInner(inner netip.Addr) *DeniedError {
	if d, _ := e.ranges.Lookup(inner); d != nil {
		return d
	}
	if e.machine.has(inner) {
		return denyMachine
	}
	return nil
}

// isMail reports whether spam goes to this port: SMTP, and message submission
// (RFC 5321; RFC 8314, Section 3.3; RFC 6409; 2525 by custom).
func isMail(port uint16) bool {
	return port == 25 || port == 465 || port == 587 || port == 2525
}
