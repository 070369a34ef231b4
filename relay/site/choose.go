package site

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"time"
)

// set is the certificates in use, and what finds one for a handshake.
type set struct {
	list  []*tls.Certificate
	named map[string][]*tls.Certificate // by the names in them
	given map[string][]*tls.Certificate // by the names of the site that they are for
}

// newSet makes a set of certificates. given are the names of the site that have
// their certificates by a line of the configuration, as by Caddy's tls: they are
// found under them however the names in them are written, and those for a longer
// name come first, since Caddy reads its blocks in the order of their lengths.
func newSet(list []*tls.Certificate, given []string) *set {
	s := &set{list: slices.Clone(list), named: make(map[string][]*tls.Certificate), given: make(map[string][]*tls.Certificate)}
	longest := make(map[*tls.Certificate]int)
	for _, c := range list {
		for _, name := range given {
			if len(name) > longest[c] && c.Leaf.VerifyHostname(name) == nil {
				longest[c] = len(name)
			}
		}
	}
	slices.SortStableFunc(s.list, func(a, b *tls.Certificate) int { return longest[b] - longest[a] })
	for _, c := range s.list {
		for name := range namesOf(c.Leaf) {
			s.named[name] = append(s.named[name], c)
		}
		for _, name := range given {
			if c.Leaf.VerifyHostname(name) == nil {
				name = strings.ToLower(name)
				s.given[name] = append(s.given[name], c)
			}
		}
	}
	return s
}

// choose returns the certificate that Caddy would choose for hello, or nil.
func (s *set) choose(hello *tls.ClientHelloInfo) *tls.Certificate {
	if isChallenge(hello) {
		return nil // that nobody has asked for
	}
	name := strings.ToLower(strings.TrimSpace(hello.ServerName))
	if name == "" {
		if hello.Conn == nil {
			return nil
		}
		return pick(hello, s.named[localAddress(hello.Conn)])
	}
	if c := s.named[name]; len(c) > 0 {
		return pick(hello, c)
	}
	if c := s.given[strings.ToLower(hostOnly(hello.ServerName))]; len(c) > 0 {
		return pick(hello, c)
	}
	labels := strings.Split(name, ".")
	for i := range labels {
		labels[i] = "*"
		if c := s.named[strings.Join(labels, ".")]; len(c) > 0 {
			return pick(hello, c)
		}
	}
	return nil
}

// pick takes one of the certificates that are for a name: the first that the
// client can make use of and that is valid, as certmagic does for Caddy.
func pick(hello *tls.ClientHelloInfo, choices []*tls.Certificate) *tls.Certificate {
	if len(choices) == 0 {
		return nil
	}
	best, now := choices[0], time.Now()
	if len(choices) == 1 {
		return best
	}
	for _, c := range choices {
		if hello.SupportsCertificate(c) != nil {
			continue
		}
		best = c
		if now.After(c.Leaf.NotBefore) && now.Before(c.Leaf.NotAfter.Add(time.Second)) {
			break
		}
	}
	return best
}

// namesOf are the names under which Caddy would find the certificate.
func namesOf(leaf *x509.Certificate) map[string]bool {
	names := make(map[string]bool)
	add := func(name string) {
		if name != "" {
			names[strings.ToLower(name)] = true
		}
	}
	add(leaf.Subject.CommonName)
	for _, name := range leaf.DNSNames {
		add(name)
	}
	for _, ip := range leaf.IPAddresses {
		add(ip.String())
	}
	for _, address := range leaf.EmailAddresses {
		add(address)
	}
	return names
}

// hostOnly takes the port off a name that should not have one, and the brackets
// off an IPv6 address.
func hostOnly(name string) string {
	if host, _, err := net.SplitHostPort(name); err == nil {
		return host
	}
	if len(name) > 1 && name[0] == '[' && name[len(name)-1] == ']' {
		return name[1 : len(name)-1]
	}
	return name
}

// localAddress is the address that the client connected to, without a zone.
func localAddress(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return ""
	}
	host, _, _ = strings.Cut(host, "%")
	return host
}
