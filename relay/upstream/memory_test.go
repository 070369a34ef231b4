package upstream

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func at(network string) func() string { return func() string { return network } }

// workedAt is the record of a way that worked once.
func workedAt(when time.Time) record { return record{}.after(true, when) }

func TestMemory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ways.json")
	now := time.Now()
	m := OpenMemory(file, at("192.0.2.0/24 02:00:00:00:00:01"))
	if _, err := os.Stat(file); err == nil {
		t.Error("before there is anything to remember: got a file, want none")
	}
	m.note("home", "key of a way", workedAt(now))
	m.note("", "key of another", workedAt(now)) // no network: nothing to say
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %o, want 600", info.Mode().Perm())
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("folder: got %v, %v, want the file alone", files, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{"home", "key of a way", "192.0.2"} {
		if strings.Contains(string(b), plain) {
			t.Errorf("file: got %q in it, want hashes", plain)
		}
	}
	again := OpenMemory(file, at(""))
	for _, tt := range []struct {
		network, way string
		want         bool
	}{{"home", "key of a way", true}, {"work", "key of a way", false}, {"home", "key of another", false}, {"", "key of another", false}} {
		if got := again.known(tt.network, tt.way).At; !got.IsZero() != tt.want || got.After(now) || tt.want && now.Sub(got) > time.Minute {
			t.Errorf("known(%q, %q): got %v, want %v", tt.network, tt.way, got, tt.want)
		}
	}
}

// TestMemoryRests is that a success is not written again and again.
func TestMemoryRests(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ways.json")
	m := OpenMemory(file, at("home"))
	now := time.Now().Add(-time.Hour)
	m.note("home", "a", workedAt(now))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	m.note("home", "a", workedAt(now.Add(sameTime/2)))
	if _, err := os.Stat(file); err == nil {
		t.Error("soon after: got it written again, want not")
	}
	m.note("home", "a", workedAt(now.Add(2*sameTime)))
	if _, err := os.Stat(file); err != nil {
		t.Errorf("later: got %v, want it written", err)
	}
	// A clock that was set back does not keep it from being written.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	m.note("home", "a", workedAt(now))
	if _, err := os.Stat(file); err != nil {
		t.Errorf("after the clock was set back: got %v, want it written", err)
	}
}

func TestMemoryBounds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ways.json")
	m := OpenMemory(file, at("home"))
	now := time.Now().Add(-10 * time.Hour)
	for i := range mostNetworks + 4 {
		m.note(fmt.Sprint("network ", i), "a", workedAt(now.Add(time.Duration(i)*time.Minute)))
	}
	for i := range mostRemember + 4 {
		m.note("home", fmt.Sprint("way ", i), workedAt(now.Add(time.Duration(100+i)*time.Minute)))
	}
	m = OpenMemory(file, at("home"))
	if n, w := len(m.data.Networks), len(m.data.Networks[m.hash("home")]); n != mostNetworks || w != mostRemember {
		t.Errorf("kept: got %d networks and %d ways, want %d and %d", n, w, mostNetworks, mostRemember)
	}
	for way, want := range map[string]bool{"way 3": false, "way 4": true, fmt.Sprint("way ", mostRemember+3): true} {
		if got := !m.known("home", way).At.IsZero(); got != want {
			t.Errorf("%s: got %v, want %v: the oldest goes", way, got, want)
		}
	}
	if !m.known("network 4", "a").At.IsZero() || m.known("network 5", "a").At.IsZero() {
		t.Error("networks: got another one forgotten than the oldest")
	}
	if info, err := os.Stat(file); err != nil || info.Size() > mostFile/2 {
		t.Errorf("file: got %v, %v, want less than %d bytes", info.Size(), err, mostFile/2)
	}
}

// TestMemoryFile opens what is no memory: it begins anew, and what is written then can
// be read.
func TestMemoryFile(t *testing.T) {
	key := strings.Repeat("ab", 32)
	many := map[string]map[string]time.Time{}
	for i := range 2000 {
		many[fmt.Sprintf("%032x", i)] = map[string]time.Time{"w": time.Now().Add(-time.Hour)}
	}
	// As relays without scores have written it.
	crowd, err := json.Marshal(map[string]any{"key": key, "networks": many})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		keeps      bool // the key
	}{
		{"empty", "", false},
		{"no JSON", "\x00\x01{", false},
		{"cut off", `{"key":"` + key + `","networks":{"x":{"y":"2026-`, false},
		{"other types", `{"key":7,"networks":[1]}`, false},
		{"a short key", `{"key":"abcd"}`, false},
		{"a key that is none", `{"key":"` + strings.Repeat("zz", 32) + `"}`, false},
		{"no key", `{"networks":{"x":{"y":"2026-01-01T00:00:00Z"}}}`, false},
		{"null", `null`, false},
		{"nulls", `{"key":"` + key + `","networks":{"x":null,"":{"":"2026-01-01T00:00:00Z"}}}`, true},
		{"a score that is none", `{"key":"` + key + `","networks":{"x":{"y":{"score":7,"at":"2026-01-01T00:00:00Z"}}}}`, false},
		{"no networks", `{"key":"` + key + `","networks":null}`, true},
		{"deep", strings.Repeat(`{"networks":`, 20000), false},
		{"too long", `{"key":"` + key + `","pad":"` + strings.Repeat("x", mostFile) + `"}`, false},
		{"many networks", string(crowd), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ways.json")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			m := OpenMemory(file, at("home"))
			if (m.data.Key == key) != tt.keeps {
				t.Errorf("key: got it kept %v, want %v", m.data.Key == key, tt.keeps)
			}
			if b, err := hex.DecodeString(m.data.Key); err != nil || len(b) != 32 {
				t.Errorf("key: got %q, want 32 bytes", m.data.Key)
			}
			if n := len(m.data.Networks); n > mostNetworks {
				t.Errorf("networks: got %d, want at most %d", n, mostNetworks)
			}
			m.note("home", "a", workedAt(time.Now()))
			if OpenMemory(file, at("home")).known("home", "a").At.IsZero() {
				t.Error("what is written then: got nothing of it, want it back")
			}
		})
	}
}

// TestMemoryTimes leaves out what was long ago, or has not been yet.
func TestMemoryTimes(t *testing.T) {
	for name, when := range map[string]time.Duration{"long ago": -staleTime - time.Hour, "to come": 100 * 24 * time.Hour} {
		file := filepath.Join(t.TempDir(), "ways.json")
		m := OpenMemory(file, at("home"))
		m.note("home", "a", workedAt(time.Now().Add(when)))
		if got := m.known("home", "a").At; !got.IsZero() {
			t.Errorf("%s: got %v, want nothing", name, got)
		}
		if m = OpenMemory(file, at("home")); len(m.data.Networks) != 0 {
			t.Errorf("%s, read again: got %v, want nothing", name, m.data.Networks)
		}
	}
}

// TestMemoryUnwritable goes on without a file, and replaces nothing that is not one.
func TestMemoryUnwritable(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("elsewhere", link); err != nil {
		t.Skip(err)
	}
	for _, file := range []string{filepath.Join(t.TempDir(), "none", "ways.json"), t.TempDir(), link} {
		m := OpenMemory(file, at("home"))
		m.note("home", "a", workedAt(time.Now()))
		if m.known("home", "a").At.IsZero() {
			t.Errorf("%s: got nothing, want it known while the program runs", file)
		}
	}
	if to, err := os.Readlink(link); to != "elsewhere" || err != nil {
		t.Errorf("the link: got it to %q, %v, want it as it was", to, err)
	}
}
