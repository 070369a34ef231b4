package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestUpstreamFlags(t *testing.T) {
	s, err := parseFlags([]string{upstreamCommand, "-rounds", "2"}, io.Discard)
	if err != nil || s.rounds != 2 || s.idle != entryIdle || !slices.Contains(s.only, "xray-entry-packet-up") || !slices.Contains(s.tests, "first") || slices.Contains(s.tests, "rr-slow") {
		t.Errorf("got %+v, %v; want the peers and tests of upstream", s, err)
	}
	if slices.Contains(testsOf(webCommand), "first") || slices.Contains(testsOf(""), "fifty") {
		t.Error("tests of entries: got them in another command")
	}
}

func TestCountTo(t *testing.T) {
	table := strings.Join([]string{
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
		"   0: 0100007F:2B48 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1",
		"   1: 0100007F:D2F0 0100007F:2B48 01 00000000:00000000 00:00000000 00000000     0        0 2",
		"   2: 0100007F:2B48 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 3",
		"   3: 0100007F:D2F2 0100007F:2B48 06 00000000:00000000 00:00000000 00000000     0        0 0",
	}, "\n")
	if got := countTo([]byte(table), 0x2b48); got != 1 {
		t.Errorf("got %d, want the established one", got)
	}
}

func TestParseShared(t *testing.T) {
	l, err := parseShared("vless://6f8c2f0e-21cf-4a68-9d0b-5b0a2d0e7c11@127.0.0.1:443?type=xhttp&path=%2Fin%2F&extra=%7B%7D#x")
	if err != nil || l.Get("user") != xrayUser || l.Get("path") != "/in/" || l.Get("extra") != "{}" {
		t.Errorf("got %v, %v, want the parameters and the user", l, err)
	}
	if _, err := parseShared("https://127.0.0.1/"); err == nil {
		t.Error("another scheme: got no error")
	}
}
