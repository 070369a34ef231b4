package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/auth"
	"relay/relay/mtproto"
)

// endedLinks warns of ee links that end as users are placed under names among which
// theirs is not. A name that comes back later does not bring them back: users stay
// where they have been moved to.
func endedLinks(users *auth.Users, o *mtproto.Options, names []string) ([]finding, error) {
	if !slices.Contains(o.Kinds(), mtproto.KindFakeTLS) {
		return nil, nil // the other links carry no name
	}
	gone, moved := make(map[string]bool), 0
	err := users.Each(func(r *auth.Record) bool {
		if at := r.Places[mtproto.Label]; at != "" && at != nameless && !r.Disabled && !slices.Contains(names, at) {
			gone[at] = true
			moved++
		}
		return true
	})
	if err != nil || moved == 0 {
		return nil, err
	}
	return []finding{finding(fmt.Sprintf("the MTProto links of %d users have changed and their old ones have ended, as their names are no names of ee secrets any more: %s; show them the new ones with relay user show, and keep names below [mtproto] as long as links with them are in use", moved, strings.Join(slices.Sorted(maps.Keys(gone)), ", ")))}, nil
}
