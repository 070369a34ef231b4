package main

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/transport/web"
)

// TestTryWords wants every message in every language, with the same verbs, and one for
// whatever a trial can end of.
func TestTryWords(t *testing.T) {
	for stage, causes := range web.Causes {
		want := []string{"stage/" + string(stage)}
		for _, c := range causes {
			if c != web.CauseStopped {
				want = append(want, string(stage)+"/"+string(c))
			}
		}
		for _, id := range want {
			if tryEnglish[id] == "" {
				t.Errorf("there is no message %q", id)
			}
		}
	}
	for lang, w := range tryLangs {
		if got, want := slices.Sorted(maps.Keys(w.text)), slices.Sorted(maps.Keys(tryEnglish)); !slices.Equal(got, want) {
			t.Errorf("%s: got messages %q, want %q", lang, got, want)
		}
		for id, text := range w.text {
			if got, want := strings.Count(text, "%s"), strings.Count(tryEnglish[id], "%s"); got != want || strings.Count(text, "%") != want {
				t.Errorf("%s: %s: got %d verbs, want %d of %%s", lang, id, got, want)
			}
			if strings.Count(text, "`")%2 != 0 || strings.Contains(text, "`--resolver`") != strings.Contains(tryEnglish[id], "`--resolver`") {
				t.Errorf("%s: %s: got %q, want the commands of %q in pairs of backquotes", lang, id, text, tryEnglish[id])
			}
		}
	}
}

var (
	latin    = regexp.MustCompile("[A-Za-z0-9]")
	isolated = regexp.MustCompile(isolate + "[^" + isolate + isolateEnd + "]*" + isolateEnd)
	quoted   = regexp.MustCompile("`[^`]*`")
)

// TestTryPersian wants nothing that goes from left to right outside of an isolate.
func TestTryPersian(t *testing.T) {
	for id, text := range tryPersian {
		if rest := strings.ReplaceAll(quoted.ReplaceAllString(text, ""), "%s", ""); latin.MatchString(rest) {
			t.Errorf("%s: got Latin letters outside of backquotes: %q", id, rest)
		}
	}
	w := tryLangs["fa"]
	for name, r := range someTried() {
		line := w.say("link", ltr("1"), w.verdict(r))
		if rest := isolated.ReplaceAllString(line, ""); latin.MatchString(rest) || strings.Contains(rest, isolate) {
			t.Errorf("%s: got %q outside of isolates", name, rest)
		}
	}
}

// someTried are results of some kinds.
func someTried() map[string]tried {
	secret := errors.New("203.0.113.7 www.example.org /secretsecretsecret/")
	report := web.Report{Trip: 180 * time.Millisecond, Down: 140_000, Rate: 3_200_000}
	frozen := web.Report{Trip: 180 * time.Millisecond, Down: 16_400}
	out := map[string]tried{
		"works":   {report: report},
		"slow":    {report: web.Report{Trip: 180 * time.Millisecond, Rate: 12_300}},
		"no rate": {report: web.Report{Trip: 180 * time.Millisecond}},
		"target":  {report: report, target: 250 * time.Millisecond},
		"limited": {report: frozen, fault: &web.Fault{Stage: web.StageVolume, Cause: web.CauseFrozen, Err: secret}},
	}
	for stage, causes := range web.Causes {
		for _, c := range causes {
			name := string(stage) + "/" + string(c)
			out[name] = tried{host: "www.example.org", report: web.Report{Down: 2000}, fault: &web.Fault{Stage: stage, Cause: c, Err: secret}}
		}
	}
	return out
}

// TestTryLines wants lines for people to say it, and nothing that is secret.
func TestTryLines(t *testing.T) {
	for name, want := range map[string]string{
		"works":           "works: 180 ms, at least 3.2 MB/s",
		"slow":            "works: 180 ms, at least 12 kB/s",
		"no rate":         "works: 180 ms",
		"target":          "works: 180 ms, at least 3.2 MB/s; the target answers after 250 ms",
		"limited":         "frozen after 16 kB: connections stop after the first kilobytes; relay connect copes with that, slowly",
		"volume/frozen":   "frozen after 2 kB: nothing comes any more, and nobody says why; try another link",
		"volume/reset":    "cut off after 2 kB (reset): large answers are filtered; try another link",
		"hello/stopped":   "not finished, it was waiting for the answer to the hello",
		"hello/reset":     "blocked after the hello (reset): the name or the browser's fingerprint is filtered; try another link",
		"connect/refused": "the address refuses: no relay runs there now, or somebody refuses in its place; ask whoever gave you the link",
	} {
		if got := tryLangs["en"].verdict(someTried()[name]); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got, want := tryLangs["ru"].verdict(someTried()["works"]), "работает: 180 мс, не меньше 3,2 МБ/с"; got != want {
		t.Errorf("Russian: got %q, want %q", got, want)
	}
	for lang, w := range tryLangs {
		for name, r := range someTried() {
			for _, asJSON := range []bool{false, true} {
				var b strings.Builder
				p := tryPrinter{w: &b, words: w, json: asJSON}
				if err := p.print(r); err != nil {
					t.Fatal(err)
				}
				got := b.String()
				if strings.Contains(got, "203.0") || strings.Contains(got, "example") || strings.Contains(got, "secret") {
					t.Errorf("%s: %s: got %q, want no name, address or path", lang, name, got)
				}
				if strings.Contains(got, "%!") || strings.Count(got, "\n") != 1 || len(got) < 10 {
					t.Errorf("%s: %s: got %q, want a line", lang, name, got)
				}
				if works := r.fault == nil || name == "limited"; p.works != works {
					t.Errorf("%s: got that it works: %v, want %v", name, p.works, works)
				}
			}
		}
	}
}

// TestTryOrder wants lines for people in the order of the links, as soon as that is known,
// and those for programs at once; a terminal also shows how far it is.
func TestTryOrder(t *testing.T) {
	ways := []tryWay{{number: 1}, {number: 3}, {number: 4}}
	for _, tt := range []struct {
		name      string
		json, tty bool
		want      []string // after each result
	}{
		{"a pipe", false, false, []string{"", "1 3 ", "1 3 4 "}},
		{"a terminal", false, true, []string{"0/3 1/3 ", "0/3 1/3 1 3 2/3 ", "0/3 1/3 1 3 2/3 4 "}},
		{"a program", true, false, []string{"3 ", "3 1 ", "3 1 4 "}},
	} {
		var b strings.Builder
		p := newTryPrinter(&b, tryLangs["en"], &tryCmd{jsonFlag: jsonFlag{JSON: tt.json}}, ways)
		p.tty = tt.tty
		p.progress()
		for i, link := range []int{3, 1, 4} {
			if err := p.add(tried{link: link}); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, m := range regexp.MustCompile(`tried (\d) of (\d)|link\D{1,2}(\d)`).FindAllStringSubmatch(b.String(), -1) {
				if m[3] == "" {
					m[3] = m[1] + "/" + m[2]
				}
				got += m[3] + " "
			}
			if got != tt.want[i] {
				t.Errorf("%s, after %d results: got %q, want %q", tt.name, i+1, got, tt.want[i])
			}
		}
		if text := b.String(); !strings.HasSuffix(text, "\n") || strings.Contains(text, "\r") != tt.tty {
			t.Errorf("%s: got %q, want whole lines in the end", tt.name, text)
		}
	}
}

// TestTryJSON has the words that programs read.
func TestTryJSON(t *testing.T) {
	var b strings.Builder
	p := tryPrinter{w: &b, words: tryLangs["fa"], json: true}
	r := someTried()["limited"]
	r.link = 3
	if err := p.print(r); err != nil {
		t.Fatal(err)
	}
	want := `{"link":3,"works":true,"stage":"volume","cause":"frozen","ms":180,"name_ms":0,"connect_ms":0,"hello_ms":0,"bytes":16400,"rate":0}`
	if got := strings.TrimSpace(b.String()); got != want || !json.Valid([]byte(got)) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTryLanguage finds the language in the environment.
func TestTryLanguage(t *testing.T) {
	for _, tt := range []struct{ flag, all, messages, lang, want string }{
		{"", "", "", "", "en"},
		{"", "", "", "fa_IR.UTF-8", "fa"},
		{"", "", "ru_RU.UTF-8", "en_US.UTF-8", "ru"},
		{"", "zh_CN", "ru_RU", "fa_IR", "zh"},
		{"", "C.UTF-8", "", "ru_RU", "en"},
		{"", "", "", "de_DE@euro", "en"},
		{"", "", "", "FA", "fa"},
		{"zh", "ru_RU", "", "", "zh"},
	} {
		for name, value := range map[string]string{"LC_ALL": tt.all, "LC_MESSAGES": tt.messages, "LANG": tt.lang} {
			t.Setenv(name, value)
		}
		if w, err := findWords(tt.flag); err != nil || w.lang != tt.want {
			t.Errorf("%+v: got %q and %v", tt, w.lang, err)
		}
	}
	if _, err := findWords("de"); err == nil || exitCode(err) != exitUsage {
		t.Errorf("de: got %v, want an error of usage", err)
	}
}

func exitCode(err error) int {
	return report(streams{out: &strings.Builder{}, err: &strings.Builder{}}, err, "")
}
