package main

import (
	"slices"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{9, 1, 5, 6}, 5.5},
	} {
		if got := median(c.list); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.list, got, c.want)
		}
	}
}

func TestSummary(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want string
	}{
		{nil, "-"},
		{[]float64{1.26}, "1.3"},
		{[]float64{3, 1, 2}, "2.0 (1.0-3.0)"},
	} {
		if got := summary(c.list, "%.1f"); got != c.want {
			t.Errorf("summary of %v: got %q, want %q", c.list, got, c.want)
		}
	}
}

func TestRatios(t *testing.T) {
	// Rounds 2 and 4 lack one of the two, and round 5 cannot be divided by.
	got := ratios(
		map[int]float64{1: 1, 2: 7, 3: 6, 5: 1},
		map[int]float64{1: 2, 3: 3, 4: 9, 5: 0},
	)
	slices.Sort(got)
	if want := []float64{0.5, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPairs(t *testing.T) {
	rows, _ := pairsOf([]string{"relay-socks5", "armon", "haproxy", "relay-mtproto", "mtg"})
	slices.Sort(rows)
	want := []string{"relay-mtproto / mtg", "relay-mtproto / relay-socks5", "relay-socks5 / armon"}
	if !slices.Equal(rows, want) {
		t.Errorf("got %q, want %q", rows, want)
	}
}

func TestWriteTables(t *testing.T) {
	results := []result{
		{Round: 1, Peer: "direct", Test: "rate", Values: values{keyCost: 50}},
		{Round: 1, Peer: "relay-socks5", Test: "rate", Values: values{keyCost: 100}},
		{Round: 1, Peer: "dante", Test: "rate", Values: values{keyCost: 200}},
		{Round: 1, Peer: "microsocks", Test: "rate", Failed: "it ended"},
		{Round: 2, Peer: "relay-socks5", Test: "rate", Values: values{keyCost: 300}},
		{Round: 2, Peer: "dante", Test: "rate", Values: values{keyCost: 200}},
		{Round: 3, Peer: "relay-socks5", Test: "rate", Failed: "it ended"},
		{Round: 3, Peer: "dante", Test: "rate", Values: values{keyCost: 260}},
	}
	var b strings.Builder
	writeTables(&b, results)
	got := b.String()
	for _, want := range []string{
		"| peer | rate, µs/connection |\n|---|---:|\n| direct | 50.0 |\n",
		"| relay-socks5 | 200.0 (100.0-300.0), failed 1 of 3 |\n",
		"| microsocks | failed |\n",
		"| dante | 200.0 (200.0-260.0) |\n",
		"| relay-socks5 / dante | 1.00 (0.50-1.50) |\n",
		"| relay-socks5 / microsocks | - |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
	}
	if strings.Contains(got, "GiB") || strings.Contains(got, "haproxy") {
		t.Errorf("got\n%s\nwant no column and no row of what was not measured", got)
	}
}
