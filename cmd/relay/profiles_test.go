package main

import (
	"strings"
	"testing"
	"time"

	"relay/transport/browser"
)

func TestProfileFindings(t *testing.T) {
	day, err := time.Parse(time.DateOnly, browser.Bundled().Captured)
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	if got := profileFindings(state, day.Add(60*24*time.Hour)); len(got) != 0 {
		t.Errorf("after 60 days: got %q, want nothing", got)
	}
	if got := profileFindings(state, day.Add(61*24*time.Hour)); len(got) != 1 || !strings.Contains(string(got[0]), "61 days old") {
		t.Errorf("after 61 days: got %q, want a warning", got)
	}
}

func TestProfileName(t *testing.T) {
	for agent, want := range map[string]string{
		browser.Bundled().UserAgent(): browser.Bundled().Name,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:148.0) Gecko/20100101 Firefox/148.0":                                                        "firefox-148-windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.3 Safari/605.1.15":                   "safari-26-mac",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0":           "edge-156-windows",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36":                         "chromium-156-android",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.3 Mobile/15E148 Safari/604.1": "safari-26-ios",
		"curl/8.5.0": "browser",
	} {
		if got := profileName(agent); got != want {
			t.Errorf("%s: got %s, want %s", agent, got, want)
		}
	}
}
