package main

import "testing"

func TestIsLoopbackHost(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:9090": true, "127.9.9.9": true, "[::1]:9090": true, "localhost:9090": true, "localhost": true,
		"evil.example:9090": false, "127.0.0.1.evil.example": false, "": false, "192.0.2.1:9090": false, "localhost.evil.example": false,
	} {
		if got := isLoopbackHost(host); got != want {
			t.Errorf("isLoopbackHost(%q): got %v, want %v", host, got, want)
		}
	}
}
