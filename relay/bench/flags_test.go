package main

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseFlags(t *testing.T) {
	s, err := parseFlags(strings.Fields("-only direct,haproxy -tests rr -rounds 2 -bytes 64MiB -t 1500ms -idle 7"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.only, []string{"direct", "haproxy"}) || !slices.Equal(s.tests, []string{"rr"}) {
		t.Errorf("got peers %q and tests %q, want direct and haproxy, rr", s.only, s.tests)
	}
	if s.rounds != 2 || s.bytes != 64<<20 || s.length != 1500*time.Millisecond || s.idle != 7 {
		t.Errorf("got %+v, want 2 rounds, 64 MiB, 1.5 s and 7 connections", s)
	}
	if s, err = parseFlags(nil, io.Discard); err != nil || !slices.Equal(s.only, peersOf("")) || !slices.Equal(s.tests, testsOf("")) {
		t.Errorf("no flags: got %q, %q and %v, want every peer and every test", s.only, s.tests, err)
	}
}

func TestParseFlagsFaults(t *testing.T) {
	for arguments, want := range map[string]string{
		"-only relay-socks5,squid":      "known: direct, relay-socks5, microsocks",
		"-tests bulk":                   "known: bulk-down, bulk-up",
		"-tests rr,":                    `unknown test ""`,
		"-rounds 0":                     "want 1 to 100",
		"-rounds many":                  "rounds",
		"-t 10ms":                       "-t: got 10 ms, want 100 to 300000 ms",
		"-idle -1":                      "-idle: got -1",
		"-bytes much":                   "-bytes",
		"-bytes -1":                     "-bytes",
		"-bytes 33GiB":                  "-bytes",
		"-bytes 17592186044417GiB":      "-bytes", // overflows to 1 GiB
		"-unknown":                      "-unknown",
		"haproxy":                       `unexpected argument "haproxy"`,
		"-user no-such-user-of-a-bench": "-user",
	} {
		_, err := parseFlags(strings.Fields(arguments), io.Discard)
		if err == nil || errors.Is(err, flag.ErrHelp) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", arguments, err, want)
		}
	}
}

func TestHelp(t *testing.T) {
	var b strings.Builder
	if _, err := parseFlags([]string{"-h"}, &b); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v, want flag.ErrHelp", err)
	}
	for _, want := range append(append([]string{"-relay", "-json", "Usage:"}, peersOf("")...), testsOf("")...) {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", b.String(), want)
		}
	}
}

func TestQuoted(t *testing.T) {
	got := strings.Join(quoted([]string{"-only", "a,b", "", "it's", "a b"}), " ")
	if want := `-only a,b '' 'it'\''s' 'a b'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
