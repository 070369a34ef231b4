package probe

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Verdict is what the runs of a probe say about the two servers.
type Verdict string

// The verdicts.
const (
	Same    Verdict = "same"
	Differs Verdict = "differs"
	// Unsteady is an outcome that only one of the servers showed, but seldom:
	// a race in either, not a mark. It does not count as a difference.
	Unsteady Verdict = "unsteady"
)

const (
	// seldom is the share of runs up to which an outcome of one server only is
	// chance. At ten runs, an outcome of both that is seen in three of ten
	// runs would be taken for a difference once in a hundred times.
	seldom = 0.35
	// always is the share from which no second look is needed.
	always = 0.99
)

// Report is what a run of the battery found.
type Report struct {
	Target    string   `json:"target"`
	Reference string   `json:"reference"`
	Name      string   `json:"name,omitempty"`
	Runs      int      `json:"runs"`
	Seconds   float64  `json:"seconds"`
	Note      string   `json:"note,omitempty"`
	Probes    int      `json:"probes"`
	Differing int      `json:"differing"`
	Results   []Result `json:"results"`
}

// Result is what one probe found.
type Result struct {
	Family    string  `json:"family"`
	Probe     string  `json:"probe"`
	Sends     string  `json:"sends"`
	Verdict   Verdict `json:"verdict"`
	Why       string  `json:"why,omitempty"` // how the target differs, in a line
	Reference Side    `json:"reference"`
	Target    Side    `json:"target"`
}

// Side is what one server did. Times are medians in milliseconds, and -1 where
// there was no such moment.
type Side struct {
	Outcomes  []Outcome `json:"outcomes"` // commonest first
	FirstByte float64   `json:"first_byte_ms"`
	LastByte  float64   `json:"last_byte_ms"`
	End       float64   `json:"end_ms"`
}

// Outcome is what came back, in words.
type Outcome struct {
	Text string `json:"text"`
	Runs int    `json:"runs"`
}

// doubt is why a trial needs a second look.
type doubt int

const (
	doubtNone   doubt = iota
	doubtChance       // it differs, but not always, or only in time
	doubtFew          // it differs always, but there were few runs
)

func (t *trial) doubt() doubt {
	if len(t.reference) == 0 || len(t.relay) == 0 {
		return doubtNone
	}
	odd, _ := content(t.reference, t.relay)
	late := timing(t.reference, t.relay) != "" && !clearlyLate(t.reference, t.relay)
	switch {
	case odd == 0 && late, odd > 0 && odd < always:
		return doubtChance
	case odd > 0 && len(t.relay) < 3:
		return doubtFew
	}
	return doubtNone
}

func (t *trial) judge() (Verdict, string) {
	if len(t.reference) == 0 || len(t.relay) == 0 {
		return Same, ""
	}
	odd, why := content(t.reference, t.relay)
	switch late := timing(t.reference, t.relay); {
	case odd > seldom:
		return Differs, why
	case late != "":
		return Differs, late
	case odd > 0:
		return Unsteady, why
	}
	return Same, ""
}

func (r *Report) add(t *trial) {
	v, why := t.judge()
	r.Probes++
	if v == Differs {
		r.Differing++
	}
	r.Results = append(r.Results, Result{
		Family: t.Family, Probe: t.Name, Sends: t.Sends, Verdict: v, Why: why,
		Reference: t.reference.report(), Target: t.relay.report(),
	})
}

func (s side) report() Side {
	counts := make(map[string]int)
	var texts []string
	for _, t := range s {
		text := t.summary()
		if counts[text]++; counts[text] == 1 {
			texts = append(texts, text)
		}
	}
	slices.SortStableFunc(texts, func(a, b string) int { return counts[b] - counts[a] })
	var out Side
	for _, text := range texts {
		out.Outcomes = append(out.Outcomes, Outcome{text, counts[text]})
	}
	times := []*float64{&out.FirstByte, &out.LastByte, &out.End}
	for i, c := range clocks {
		*times[i] = -1
		if all := measured(s, c.of); len(all) > 0 {
			*times[i] = float64(median(all).Microseconds()) / 1000
		}
	}
	return out
}

// Write prints the report for people: every difference, then a count for each family.
func (r *Report) Write(w io.Writer) {
	for _, res := range r.Results {
		if res.Verdict == Same {
			continue
		}
		fmt.Fprintf(w, "%s  %s\n", strings.ToUpper(string(res.Verdict)), res.Probe)
		fmt.Fprintf(w, "  sent       %s\n", res.Sends)
		fmt.Fprintf(w, "  reference  %s\n", res.Reference.text())
		fmt.Fprintf(w, "  target     %s\n", res.Target.text())
		fmt.Fprintf(w, "  that is    %s\n\n", res.Why)
	}
	var families []string
	count := make(map[string][3]int)
	for _, res := range r.Results {
		c, ok := count[res.Family]
		if !ok {
			families = append(families, res.Family)
		}
		c[0]++
		switch res.Verdict {
		case Differs:
			c[1]++
		case Unsteady:
			c[2]++
		case Same:
		}
		count[res.Family] = c
	}
	fmt.Fprintf(w, "%-16s %7s %8s %9s\n", "family", "probes", "differ", "unsteady")
	for _, f := range families {
		fmt.Fprintf(w, "%-16s %7d %8d %9d\n", f, count[f][0], count[f][1], count[f][2])
	}
	if r.Note != "" {
		fmt.Fprintf(w, "note: %s\n", r.Note)
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(w, "%d probes, %d runs each, in %v: %d differ\n", r.Probes, r.Runs, took, r.Differing)
}

func (s Side) text() string {
	var words []string
	total := 0
	for _, o := range s.Outcomes {
		total += o.Runs
	}
	for i, o := range s.Outcomes {
		if i == 3 {
			words = append(words, fmt.Sprintf("and %d other outcomes", len(s.Outcomes)-i))
			break
		}
		if len(s.Outcomes) > 1 {
			o.Text = fmt.Sprintf("%d of %d: %s", o.Runs, total, o.Text)
		}
		words = append(words, o.Text)
	}
	text := strings.Join(words, " | ")
	for _, t := range []struct {
		word string
		ms   float64
	}{{"first byte", s.FirstByte}, {"last byte", s.LastByte}, {"end", s.End}} {
		if t.ms >= 0 {
			text += fmt.Sprintf("; %s %v", t.word, round(time.Duration(t.ms*float64(time.Millisecond))))
		}
	}
	return text
}
