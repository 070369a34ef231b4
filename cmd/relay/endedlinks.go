package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/auth"
)

// endedLinks warns of ee links that have ended, as their users have been placed
// under other names. A name that comes back later does not bring them back: users
// stay where they have been moved to.
func endedLinks(p auth.Placing, names []string) []finding {
	gone, full := make(map[string]int), make(map[string]int)
	for at, n := range p.Moved {
		if slices.Contains(names, at) {
			full[at] = n
		} else {
			gone[at] = n
		}
	}
	var out []finding
	for _, e := range []struct {
		moved map[string]int
		why   string
	}{{gone, "their names are no names of ee secrets any more"}, {full, "others have taken the places under their names"}} {
		if len(e.moved) == 0 {
			continue
		}
		all := 0
		for _, n := range e.moved {
			all += n
		}
		out = append(out, finding(fmt.Sprintf("the MTProto links of %d users have changed and their old ones have ended, as %s: %s; show them the new ones with relay user show, and keep names below [mtproto] as long as links with them are in use", all, e.why, strings.Join(slices.Sorted(maps.Keys(e.moved)), ", "))))
	}
	return out
}
