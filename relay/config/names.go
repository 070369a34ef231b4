package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxName is the longest name that is compared or shown in full. No key and no
// inbound comes near it.
const maxName = 40

// nearest returns the name in known that was probably meant by s, or "". A
// third of the letters may be wrong, the case of all of them.
func nearest(s string, known []string) string {
	if len(s) > maxName {
		return ""
	}
	best, found := max(len(s)/3, 1)+1, ""
	for _, k := range known {
		if d := distance(strings.ToLower(s), strings.ToLower(k)); d < best {
			best, found = d, k
		}
	}
	return found
}

// distance counts the letters to insert, delete, replace or swap with a
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// suggest is the hint for an unknown name: the nearest known one, or all.
func suggest(s string, known []string, kind string) string {
	if k := nearest(s, known); k != "" {
		return fmt.Sprintf("did you mean %q?", k)
	}
	if len(known) == 0 {
		return ""
	}
	all := slices.Sorted(slices.Values(known))
	return "known " + kind + ": " + strings.Join(all, ", ")
}

// shown quotes what was written, shortened.
func shown(s string) string {
	if len(s) > maxName {
		s = s[:maxName] + "…"
	}
	return strconv.Quote(s)
}

// join appends a part to a key, quoted where TOML wants it so. It is
// shortened: a key of a megabyte would be repeated for each fault in it.
func join(key, part string) string {
	if !isBare(part) || len(part) > maxName {
		part = shown(part)
	}
	if key == "" {
		return part
	}
	return key + "." + part
}

// item is the key of an element of an array.
func item(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// isBare reports whether part needs no quotes as a TOML key.
func isBare(part string) bool {
	return part != "" && strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}
