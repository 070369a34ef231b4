// Package policy decides who may be reached, resolves names, and dials.
//
// [Egress] is the direct way out of a relay: a [transport.Dialer] that refuses
// before it connects. A target is judged as written, and a name is judged again
// by every address it resolves to, immediately before a connection is made to
// exactly that address, so a name server that changes its answer between the
// check and the connection gains nothing (DNS rebinding).
//
// It is a [transport.PacketDialer] too: the targets of a client's datagrams are judged
// in the same way, each when it is new, and only targets can answer.
//
// The order of judgement:
//
//  1. the relay's own listeners, always refused, or a relay could be made to
//     talk to itself until its sockets run out;
//  2. deny rules, by name and by address;
//  3. addresses that are not the public Internet (RFC 6890, and the IANA
//     special-purpose registries), in plain or wrapped in another address, and
//     the addresses of this machine, unless an allow rule with an address
//     opens them. A name that is allowed opens no address;
//  4. names that belong to a private network or to this machine;
//  5. mail ports, unless a rule or a preset names them: a relay that sends
//     spam loses its address within hours;
//  6. presets: with any listed, only what they and the allow rules name.
//
// No error says what the target was.
package policy
