package main

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"relay/relay/admin"
)

// choose picks the links of a page, durable ones first. Whoever blocks a host
// blocks all its links, so that each host has one before any has a second; its
// durable and burnable ones take turns, as they are for different apps. Links
// that cross no border come when there is room.
func choose(links []admin.Link) []admin.Link {
	type candidate struct {
		admin.Link
		host             string
		rank, kind, turn int
	}
	var kinds []string
	var cs []candidate
	for _, l := range links {
		if !l.QR || len(appsOf(l)) == 0 {
			continue
		}
		if !slices.Contains(kinds, l.Protocol) {
			kinds = append(kinds, l.Protocol)
		}
		cs = append(cs, candidate{Link: l, host: hostOf(l.URL), rank: rankOfLife[l.Lives], kind: slices.Index(kinds, l.Protocol)})
	}
	// A host's links by kind first: a second listener with ee is better than dd.
	slices.SortStableFunc(cs, func(x, y candidate) int { return x.kind - y.kind })
	type group struct{ host, lives string }
	turns := make(map[group]int)
	for i, c := range cs {
		g := group{c.host, c.Lives}
		cs[i].turn = turns[g]
		turns[g]++
	}
	slices.SortStableFunc(cs, func(x, y candidate) int { return cmp.Or(x.turn-y.turn, x.rank-y.rank) })
	taken := make(map[string]int)
	for i, c := range cs {
		cs[i].turn = taken[c.host]
		taken[c.host]++
		if c.Lives == "" {
			cs[i].turn += len(links)
		}
	}
	slices.SortStableFunc(cs, func(x, y candidate) int { return cmp.Or(x.turn-y.turn, x.rank-y.rank) })
	cs = cs[:min(len(cs), mostCards)]
	slices.SortStableFunc(cs, func(x, y candidate) int { return x.rank - y.rank })
	var out []admin.Link
	for _, c := range cs {
		out = append(out, c.Link)
	}
	return out
}

// hostOf is the address or name that a link leads to.
func hostOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	if server := u.Query().Get("server"); server != "" {
		return strings.ToLower(server)
	}
	return strings.ToLower(u.Hostname())
}
