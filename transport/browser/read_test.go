package browser_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/transport/browser"
	"relay/transport/hello"
)

func bundledText(t testing.TB) string {
	t.Helper()
	b, err := browser.Bundled().Encode()
	if err != nil {
		t.Fatalf("encode: got %v, want nil", err)
	}
	return string(b)
}

// TestBundled: what is in the program is what was captured, word by word, and says
// nowhere that it was captured without a window.
func TestBundled(t *testing.T) {
	files, err := filepath.Glob("profiles/*.json")
	if err != nil || len(files) != 1 {
		t.Fatalf("profiles: got %q, %v, want one", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := bundledText(t); got != string(text) {
		t.Errorf("got %d bytes that differ from the %d in %s", len(got), len(text), files[0])
	}
	if want := "profiles/" + browser.Bundled().Name + ".json"; files[0] != want {
		t.Errorf("file: got %s, want %s", files[0], want)
	}
	recordings, _ := filepath.Glob("testdata/*")
	for _, file := range append(files, recordings...) {
		if b, err := os.ReadFile(file); err == nil && bytes.Contains(bytes.ToLower(b), []byte("headless")) {
			t.Errorf("%s: got a headless browser, want one with a window", file)
		}
	}
	if got, want := browser.Bundled().HTTP2.Akamai(), "1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p"; got != want {
		t.Errorf("Akamai: got %s, want %s", got, want)
	}
	if !strings.Contains(browser.Bundled().UserAgent(), " Chrome/156.") {
		t.Errorf("user agent: got %q, want that of Chrome 156", browser.Bundled().UserAgent())
	}
	if got := browser.Bundled().Differences(browser.Bundled()); len(got) > 0 {
		t.Errorf("differences from itself: got %q, want none", got)
	}
}

func TestAge(t *testing.T) {
	p := browser.Profile{Captured: "2026-11-22"}
	for at, want := range map[string]int{"2026-11-22T23:59:00Z": 0, "2026-11-24T00:00:01Z": 2, "2026-11-01T00:00:00Z": 0} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Age(now); got != time.Duration(want)*24*time.Hour {
			t.Errorf("%s: got %v, want %d days", at, got, want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := bundledText(t)
	if _, err := browser.Read(strings.NewReader(good)); err != nil {
		t.Fatalf("as it is: got %v, want nil", err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"nothing", good, "", "not a profile"},
		{"format", `"format": 1`, `"format": 2`, "format 2"},
		{"no format", `"format": 1,`, ``, "format 0"},
		{"unknown key", `"format": 1,`, `"format": 1, "colour": "red",`, "colour"},
		{"something behind", "\n}\n", "\n}\n{}", "something follows"},
		{"too long", "\n}\n", "\n}\n" + strings.Repeat(" ", 65<<10), "no longer than"},
		{"name", "chromium-156-linux", "../profile", "name:"},
		{"day", "2026-11-22", "22.11.2026", "captured:"},
		{"number", "1301 1302", "1301 13g2", "four hexadecimal digits"},
		{"GREASE that is not drawn", "1301 1302", "1301 1a1a", "write \"grease\""},
		{"a suite twice", "1301 1302", "1301 1301", "tls.cipher_suites: a number is there twice"},
		{"no suite of TLS 1.3", "1301 1302 1303", "", "tls.cipher_suites: one of"},
		{"many suites", "grease 1301", "grease 1301" + many(70), "tls.cipher_suites: 86 numbers"},
		{"old version", "0304 0303", "0304 0301", "tls.versions"},
		{"no TLS 1.3", "grease 0304 0303", "0303", "tls.versions: one of"},
		{"key of no group", `"key_shares": "grease 11ec 001d"`, `"key_shares": "grease 11ec 0017 001d 0019"`, "0019 is not among the groups"},
		{"two keys", `"key_shares": "grease 11ec 001d"`, `"key_shares": "grease 001d 0017"`, "not 2"},
		{"key that nobody has", `"key_shares": "grease 11ec 001d"`, `"key_shares": "0200 001d"`, "no keys for group 0200"},
		{"hybrid alone", `"key_shares": "grease 11ec 001d"`, `"key_shares": "11ec"`, "tls.key_shares: one of"},
		{"payload", "144,", "16,", "tls.ech_payloads: 16"},
		{"payload as long as a hello", "144,", "14400,", "tls.ech_payloads: 14400"},
		{"no ECH", `"fe0d",`, ``, "tls.ech_payloads: there are some if"},
		{"PSK", `"fe0d",`, `"fe0d", "0029",`, "0029"},
		{"extension twice", `"0023",`, `"0023", "0023",`, "0023 is there twice"},
		{"no name", `"0000",`, ``, "0000 is missing"},
		{"body of what is made", `"0000",`, `"0000 00",`, "0000 is made from the lists"},
		{"body that is malformed", `"44cd 0003026832"`, `"44cd 00030268"`, "44cd: its body is malformed"},
		{"body with more in it", `"44cd 0003026832"`, `"44cd 000302683200"`, "44cd: its body is malformed"},
		{"body that is not hexadecimal", `"44cd 0003026832"`, `"44cd zz"`, "not hexadecimal"},
		{"long bodies", `"fe0d",`, `"fe0d", "aaab ` + strings.Repeat("00", 9000) + `",`, "bodies of"},
		{"GREASE in the middle", `"fe0d",`, `"grease",`, "grease is first or last"},
		{"protocol", `"h2"`, `"h\u0000"`, "tls.protocols"},
		{"without what must be there", `"without": "44cd"`, `"without": "0000"`, "websocket.without: 0000"},
		{"without what is not there", `"without": "44cd"`, `"without": "4469"`, "websocket.without: 4469"},
		{"line break", "sec-fetch-site: none", `sec-fetch-site: none\r\nx: y`, "characters other than ASCII's"},
		{"name of a field", "sec-fetch-site: none", "sec fetch site: none", "not the name of a field"},
		{"no field", "sec-fetch-site: none", "sec-fetch-site", "write name: value"},
		{"capitals", "sec-fetch-site: none", "Sec-Fetch-Site: none", "small letters only"},
		{"headless", "Chrome/156", "HeadlessChrome/156", "headless"},
		{"long field", "sec-fetch-site: none", "sec-fetch-site: " + strings.Repeat("x", 600), "longer than 512"},
		{"setting", "0004 6291456", "0004 2147483648", "0004 cannot be"},
		{"setting without a value", "0004 6291456", "0004", "setting 0004"},
		{"window", "15663105", "2147483647", "http2.window"},
		{"pseudo", `":path"`, `":status"`, "http2.pseudo"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, -1)
			if text == good {
				t.Fatalf("got no %q in the profile, want to change it", tt.old)
			}
			_, err := browser.Read(strings.NewReader(text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" ")
		b.WriteString(browser.Number(0x2000 + i).String())
	}
	return b.String()
}

// FuzzRead: what is accepted makes hellos, and is written as it was read.
func FuzzRead(f *testing.F) {
	good := bundledText(f)
	f.Add(good)
	f.Add(strings.Replace(good, `"shuffle": true,`, "", 1))
	f.Add(strings.Replace(good, `"fe0d",`, `"fe0d", "0015", "001c 4001", "0022 00080403050306030203",`, 1))
	f.Add("{}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := browser.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		b, err := p.Encode()
		if err != nil {
			t.Fatalf("encode: got %v, want nil", err)
		}
		again, err := browser.Read(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("read again: got %v, want nil", err)
		}
		if d := p.Differences(again); len(d) > 0 {
			t.Fatalf("read again: got %q, want no difference", d)
		}
		for _, ws := range []bool{false, true} {
			record := firstFlight(t, p, browser.Config{ServerName: name, WebSocket: ws, Sessions: new(browser.Sessions)})
			s, err := browser.Inspect(hello.Message(record))
			if err != nil {
				t.Fatalf("hello: got %v, want one", err)
			}
			// Padding is there where it is needed.
			padded := slices.ContainsFunc(p.TLS.Extensions, func(e browser.Extension) bool { return e.ID == 21 })
			if want := p.TLS.JA4(false); !ws && !padded && s.JA4() != want {
				t.Fatalf("JA4: got %s, want %s", s.JA4(), want)
			}
		}
	})
}

// FuzzInspect: hellos that nobody has judged yet.
func FuzzInspect(f *testing.F) {
	for _, name := range []string{"page", "repeat", "socket"} {
		f.Add(hello.Message(recorded(f, name)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := browser.Inspect(b)
		if err != nil {
			return
		}
		_ = s.JA4()
		_, _ = s.JA3()
	})
}
