package main

import (
	"slices"
	"testing"
)

func TestRush(t *testing.T) {
	for _, c := range []struct {
		name string
		live []int
		want []int // the looks at which a rush is over
	}{
		{"few", []int{1000, 0, 0, 0}, nil},
		{"a flood, in steps", []int{10, 9000, 12000, 4000, 3000, 2900, 100, 90}, []int{5, 7}},
		{"and the last of it", []int{5000, 900, 900, 900, 0, 0, 0, 0, 0, 0, 0, 0}, []int{2, 6}},
		{"two floods", []int{5000, 0, 0, 0, 5000, 1000, 1000}, []int{2, 6}},
		{"a pause", []int{5000, 100, 5000, 100, 5000, 100, 100}, []int{6}},
		{"steady", []int{5000, 5000, 4000, 2000, 5000}, nil},
	} {
		var r rush
		var got []int
		for i, n := range c.live {
			if r.over(n) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got a rush over at %v, want %v", c.name, got, c.want)
		}
	}
}

func TestGrowth(t *testing.T) {
	for _, tt := range []struct {
		name string
		live []int
		want string // a letter for each look: s for settled
	}{
		{"few", []int{0, 100, 200, 200, 200, 200}, "------"},
		{"many at once", []int{0, 1000, 1000, 1000, 1010}, "--s--"},
		{"many by and by", []int{0, 500, 1000, 1500, 1520, 1520}, "----s-"},
		{"slowly", []int{10000, 10100, 10200, 10300, 10400}, "-s--s"},
		{"up again", []int{0, 1000, 1000, 0, 1000, 1000}, "--s--s"},
	} {
		var g growth
		got := ""
		for _, n := range tt.live {
			c := "-"
			if g.settled(n) {
				c = "s"
			}
			got += c
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
