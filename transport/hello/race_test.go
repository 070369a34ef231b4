//go:build race

package hello_test

const raceEnabled = true
