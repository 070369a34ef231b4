package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/transport/web"
)

// words are what relay try says in one language.
type words struct {
	lang string
	rtl  bool
	text map[string]string // as in tryEnglish
}

// tryLangs are the languages.
var tryLangs = map[string]words{
	"en": {lang: "en", text: tryEnglish},
	"ru": {lang: "ru", text: tryRussian},
	"fa": {lang: "fa", rtl: true, text: tryPersian},
	"zh": {lang: "zh", text: tryChinese},
}

// findWords returns the language that was asked for, or else that of the environment.
func findWords(lang string) (words, error) {
	if lang != "" {
		w, ok := tryLangs[lang]
		if !ok {
			return w, usagef("--lang %q: want one of %s", lang, strings.Join(slices.Sorted(maps.Keys(tryLangs)), ", "))
		}
		return w, nil
	}
	// The first that says anything counts (POSIX, Section 8.2).
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		v := os.Getenv(name)
		if v == "" {
			continue
		}
		if i := strings.IndexAny(v, "_-.@"); i >= 0 {
			v = v[:i]
		}
		if w, ok := tryLangs[strings.ToLower(v)]; ok {
			return w, nil
		}
		break
	}
	return tryLangs["en"], nil
}

// ltr is text that is written from left to right in every language: numbers, commands.
type ltr string

// isolate and its end keep such text together within a line that goes the other way
// (Unicode Standard Annex 9, Section 2.4).
const isolate, isolateEnd = "\u2066", "\u2069"

// say returns a text with its arguments, each ltr or said already. What is between two
// backquotes in a text is ltr as well.
func (w words) say(id string, args ...any) string {
	open, end := "", ""
	if w.rtl {
		open, end = isolate, isolateEnd
	}
	text := w.text[id]
	for i := 0; strings.Contains(text, "`"); i++ {
		text = strings.Replace(text, "`", []string{open, end}[i%2], 1)
	}
	args = slices.Clone(args)
	for i, a := range args {
		if s, ok := a.(ltr); ok {
			args[i] = open + string(s) + end
		}
	}
	return fmt.Sprintf(text, args...)
}

func (w words) ms(d time.Duration) string {
	return w.say("ms", ltr(strconv.FormatInt(max(d.Milliseconds(), 1), 10)))
}

func (w words) size(n int64) string {
	return w.say("kB", ltr(strconv.FormatInt((n+500)/1000, 10)))
}

func (w words) rate(n int64) string {
	if n < 1_000_000 {
		return w.say("kB/s", ltr(strconv.FormatInt((n+500)/1000, 10)))
	}
	text := strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64)
	return w.say("MB/s", ltr(strings.Replace(text, ".", w.text["point"], 1)))
}

// verdict is what the line of a link says behind its number.
func (w words) verdict(r tried) string {
	f := r.fault
	switch {
	case f == nil:
		out := w.say("works", w.ms(r.report.Trip))
		if r.report.Rate > 0 {
			out = w.say("works/rate", w.ms(r.report.Trip), w.rate(r.report.Rate))
		}
		if r.target > 0 {
			out = w.say("works/target", out, w.ms(r.target))
		}
		return out
	case f.Cause == web.CauseStopped:
		return w.say("stopped", w.say("stage/"+string(f.Stage)))
	case r.limited():
		return w.say("limited", w.size(r.report.Down))
	case f.Stage == web.StageVolume:
		return w.say("volume/"+string(f.Cause), w.size(r.report.Down))
	}
	return w.say(string(f.Stage) + "/" + string(f.Cause))
}

// limited reports whether a link works, with connections that freeze.
func (r tried) limited() bool {
	return r.fault != nil && r.fault.Cause == web.CauseFrozen && web.Limited(r.report.Down)
}

// works reports whether relay connect would.
func (r tried) works() bool { return r.fault == nil || r.limited() }

// tryPrinter prints what trials have found.
type tryPrinter struct {
	w             io.Writer
	words         words
	json, verbose bool
	works         bool // some link does
	reached       bool // some relay was, but not the target

	// For people.
	tty   bool
	order []int         // links whose line is still to come
	held  map[int]tried // whose turn has not come
	all   int
}

func newTryPrinter(w io.Writer, words words, c *tryCmd, ways []tryWay) *tryPrinter {
	p := &tryPrinter{w: w, words: words, json: c.JSON, verbose: c.Verbose, tty: isTerminal(w) && !c.JSON, held: map[int]tried{}, all: len(ways)}
	for i := range ways {
		p.order = append(p.order, ways[i].number)
	}
	p.progress()
	return p
}

// add prints what was found: at once for programs, and for people in the order of the
// links.
func (p *tryPrinter) add(r tried) error {
	if p.json {
		return p.print(r)
	}
	p.held[r.link] = r
	p.clear()
	for len(p.order) > 0 {
		next, ok := p.held[p.order[0]]
		if !ok {
			break
		}
		delete(p.held, p.order[0])
		p.order = p.order[1:]
		if err := p.print(next); err != nil {
			return err
		}
	}
	p.progress()
	return nil
}

// progress is a line that goes again. That it cannot be written, the next result tells.
func (p *tryPrinter) progress() {
	if done := p.all - len(p.order) + len(p.held); p.tty && done < p.all {
		fmt.Fprint(p.w, p.words.say("progress", ltr(strconv.Itoa(done)), ltr(strconv.Itoa(p.all))))
	}
}

func (p *tryPrinter) clear() {
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *tryPrinter) print(r tried) error {
	p.works = p.works || r.works()
	p.reached = p.reached || r.fault != nil && r.fault.Stage == web.StageTarget
	if p.json {
		return json.NewEncoder(p.w).Encode(r.line(p.verbose))
	}
	line := p.words.say("link", ltr(strconv.Itoa(r.link)), p.words.verdict(r))
	if _, err := fmt.Fprintln(p.w, line); err != nil || !p.verbose {
		return err
	}
	return p.details(r)
}

// details are for whoever knows what they mean.
func (p *tryPrinter) details(r tried) error {
	var b strings.Builder
	fmt.Fprintf(&b, "  name %s, asked %s: %v\n", r.host, r.asked, r.report.Name.Round(time.Millisecond))
	for _, t := range r.report.Tried {
		fmt.Fprintf(&b, "  %s %s: %v", t.Stage, t.Addr, t.Took.Round(time.Millisecond))
		if t.Err != nil {
			fmt.Fprintf(&b, ": %q", t.Err) // others have said it
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "  %d bytes down\n", r.report.Down)
	if r.fault != nil {
		fmt.Fprintf(&b, "  %q\n", r.fault)
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}

// tryLine is a line as JSON. Its words stay as they are.
type tryLine struct {
	Link     int        `json:"link"`
	Works    bool       `json:"works"`
	Stage    string     `json:"stage,omitempty"` // where it ended
	Cause    string     `json:"cause,omitempty"`
	MS       int64      `json:"ms"` // of a request and its answer; 0: not measured
	NameMS   int64      `json:"name_ms"`
	ConnMS   int64      `json:"connect_ms"`
	HelloMS  int64      `json:"hello_ms"`
	TargetMS int64      `json:"target_ms,omitempty"` // until the target answered
	Bytes    int64      `json:"bytes"`               // down
	Rate     int64      `json:"rate"`                // bytes a second, at least
	Host     string     `json:"host,omitempty"`
	Error    string     `json:"error,omitempty"`
	Tried    []tryTried `json:"tried,omitempty"`
}

// tryTried is an address.
type tryTried struct {
	Address string `json:"address"`
	Stage   string `json:"stage"`
	MS      int64  `json:"ms"`
	Error   string `json:"error,omitempty"`
}

// wholeMS is a time in milliseconds. 0 is left for what was not measured.
func wholeMS(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return max(d.Milliseconds(), 1)
}

func (r tried) line(verbose bool) tryLine {
	p := r.report
	out := tryLine{
		Link: r.link, Works: r.works(), MS: wholeMS(p.Trip), NameMS: p.Name.Milliseconds(), ConnMS: wholeMS(p.Connect),
		HelloMS: wholeMS(p.Hello), TargetMS: wholeMS(r.target), Bytes: p.Down, Rate: p.Rate,
	}
	if r.fault != nil {
		out.Stage, out.Cause = string(r.fault.Stage), string(r.fault.Cause)
	}
	if !verbose {
		return out
	}
	out.Host = r.host
	if r.fault != nil {
		out.Error = r.fault.Error()
	}
	for _, t := range p.Tried {
		one := tryTried{Address: t.Addr.String(), Stage: string(t.Stage), MS: t.Took.Milliseconds()}
		if t.Err != nil {
			one.Error = t.Err.Error()
		}
		out.Tried = append(out.Tried, one)
	}
	return out
}
