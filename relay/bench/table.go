package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// column is a figure of a test in a table.
type column struct {
	test, key, title, format string
}

// The tables of figures: one would be too wide to read.
var (
	bulkColumns = []column{
		{"bulk-down", keyCost, "down, s/GiB", "%.3f"},
		{"bulk-down", keyPerLoad, "down, of load", "%.2f"},
		{"bulk-up", keyCost, "up, s/GiB", "%.3f"},
		{"bulk-up", keyPerLoad, "up, of load", "%.2f"},
		{"bulk-idle-down", keyCost, "beside idle, down, s/GiB", "%.3f"},
		{"bulk-idle-down", keyPerLoad, "beside idle, down, of load", "%.2f"},
		{"bulk-idle-up", keyCost, "beside idle, up, s/GiB", "%.3f"},
		{"bulk-idle-up", keyPerLoad, "beside idle, up, of load", "%.2f"},
	}
	pieceColumns = []column{
		{"rate", keyCost, "rate, µs/connection", "%.1f"},
		{"rr", keyCost, "rr, µs/round trip", "%.2f"},
		{"rr-one", keyCost, "rr-one, µs/round trip", "%.2f"},
		{"rr-slow", keyCost, "rr-slow, µs/round trip", "%.2f"},
		{"idle", keyResident, "idle, RSS B/connection", "%.0f"},
		{"idle", keyDescriptors, "idle, descriptors/connection", "%.2f"},
	}
	entryColumns = []column{
		{"first", keyStart, "first byte from the start, ms", "%.1f"},
		{"first", keyWarm, "from listening, ms", "%.1f"},
		{"first", keyMiB, "RSS at rest, MiB", "%.1f"},
		{"fifty", keyCount, "connections for 50 streams", "%.0f"},
	}
)

// writeTables writes results as Markdown: tables of figures, with a row for
// each peer, and as many of ratios, with a row for each pair.
func writeTables(w io.Writer, results []result) {
	for _, columns := range [][]column{bulkColumns, pieceColumns, entryColumns} {
		columns = measured(columns, results)
		if len(columns) == 0 {
			continue
		}
		writeTable(w, "peer", columns, peerNames(results), func(name string, c column) string {
			return figures(results, name, c)
		})
	}
	fmt.Fprintf(w, "\nRatios, Relay's figure divided by the other's in the same round: below 1, Relay needs less.\n")
	for _, columns := range [][]column{bulkColumns, pieceColumns, entryColumns} {
		columns = measured(columns, results)
		if len(columns) == 0 {
			continue
		}
		rows, pairs := pairsOf(peerNames(results))
		writeTable(w, "pair", columns, rows, func(row string, c column) string {
			pair := pairs[row]
			return summary(ratios(perRound(results, pair[0], c), perRound(results, pair[1], c)), "%.2f")
		})
	}
}

func writeTable(w io.Writer, first string, columns []column, rows []string, cell func(row string, c column) string) {
	titles, rule := []string{first}, []string{"---"}
	for _, c := range columns {
		titles, rule = append(titles, c.title), append(rule, "---:")
	}
	fmt.Fprintf(w, "\n| %s |\n|%s|\n", strings.Join(titles, " | "), strings.Join(rule, "|"))
	for _, row := range rows {
		cells := []string{row}
		for _, c := range columns {
			cells = append(cells, cell(row, c))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
}

// measured returns the columns whose test was run.
func measured(columns []column, results []result) []column {
	var kept []column
	for _, c := range columns {
		if slices.ContainsFunc(results, func(r result) bool { return r.Test == c.test }) {
			kept = append(kept, c)
		}
	}
	return kept
}

// peerNames returns the peers in results, in the order of the list of peers.
func peerNames(results []result) []string {
	var names []string
	for _, p := range peers {
		if slices.ContainsFunc(results, func(r result) bool { return r.Peer == p.name }) {
			names = append(names, p.name)
		}
	}
	return names
}

// pairsOf returns the rows of the ratios: each way to run Relay, and the
// others to compare it with.
func pairsOf(names []string) (rows []string, pairs map[string][2]string) {
	pairs = map[string][2]string{}
	for _, relay := range peers {
		for _, other := range peers {
			if !relay.isRelay() || !compared(relay, other) ||
				!slices.Contains(names, relay.name) || !slices.Contains(names, other.name) {
				continue
			}
			row := relay.name + " / " + other.name
			rows = append(rows, row)
			pairs[row] = [2]string{relay.name, other.name}
		}
	}
	return rows, pairs
}

// compared reports whether relay's figures are divided by other's. The price of
// the disguise is that of MTProto over plain SOCKS5.
func compared(relay, other peer) bool {
	if other.isRelay() {
		return relay.protocol == protocolMTProto && other.protocol == protocolSOCKS5
	}
	return relay.protocol == other.protocol
}

// perRound returns what a peer's test measured, by round.
func perRound(results []result, peer string, c column) map[int]float64 {
	found := map[int]float64{}
	for _, r := range results {
		if v, ok := r.Values[c.key]; ok && r.Peer == peer && r.Test == c.test {
			found[r.Round] = v
		}
	}
	return found
}

// figures is the cell of a peer: its median, and how often it failed.
func figures(results []result, peer string, c column) string {
	failures := 0
	for _, r := range results {
		if r.Peer == peer && r.Test == c.test && r.Failed != "" {
			failures++
		}
	}
	v := perRound(results, peer, c)
	list := make([]float64, 0, len(v))
	for _, x := range v {
		list = append(list, x)
	}
	switch {
	case failures == 0:
		return summary(list, c.format)
	case len(list) == 0:
		return "failed"
	}
	return fmt.Sprintf("%s, failed %d of %d", summary(list, c.format), failures, failures+len(list))
}

// ratios divides a by b in every round that has both.
func ratios(a, b map[int]float64) []float64 {
	var list []float64
	for round, x := range a {
		if y, ok := b[round]; ok && y > 0 {
			list = append(list, x/y)
		}
	}
	return list
}

// summary is "median (least-most)", and a dash for nothing.
func summary(list []float64, format string) string {
	switch len(list) {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf(format, list[0])
	}
	return fmt.Sprintf(format+" ("+format+"-"+format+")", median(list), slices.Min(list), slices.Max(list))
}

// median returns the middle of list, which is not empty, or the mean of its two
// middles.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
