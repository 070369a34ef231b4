//go:build !race

package vless

const raceEnabled = false
