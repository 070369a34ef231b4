package probe

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// These tests use sockets and the real clock: FIN, RST and lateness are what
// they are about, and a simulated network has its own idea of them.

// few are probes that the fake server has an opinion on.
func few(p Probe) bool {
	return slices.Contains([]string{
		"hello-good", "hello-no-sni", "pause-at-64", "junk-1", "junk-49", "junk-50", "junk-51", "junk-64", "junk-200",
		"junk-64-bytewise", "plain-get", "plain-get-bytewise", "plain-long-header", "half-13-fin", "hello-rst",
		"half-ccs-16", "half-ccs-17", "half-ccs-32", "half-ccs-33", "hello-ccs-17", "hello-ccs-33", "socks5",
	}, p.Name)
}

func compare(t *testing.T, reference, target fake, o Options) *Report {
	t.Helper()
	o.Reference, o.Target, o.Quick = reference.start(t), target.start(t), true
	if o.Choose == nil {
		o.Choose = few
	}
	if o.Settle == 0 {
		o.Settle, o.Parallel = 100*time.Millisecond, 64
	}
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// differing are the names of the probes that differ.
func differing(r *Report) (names []string) {
	for _, res := range r.Results {
		if res.Verdict == Differs {
			names = append(names, res.Probe)
		}
	}
	return names
}

func TestOneDifference(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		reference fake
		target    fake
		want      []string // probes that must differ
		same      []string // and some that must not
		why       string   // in the first one's reason
		settle    time.Duration
	}{
		{"one more byte", fake{more: "page"}, fake{more: "pages"}, []string{"plain-get"}, []string{"hello-good"}, "bytes 77", 0},
		{"another byte", fake{more: "page"}, fake{more: "pagE"}, []string{"plain-get"}, []string{"hello-good"}, "byte 75", 0},
		{"another status", fake{}, fake{status: "404 Not Found"}, []string{"plain-get"}, []string{"hello-good"}, "byte 9", 0},
		{"RST for FIN", fake{}, fake{reset: true}, []string{"plain-get"}, []string{"hello-good"}, "RST, not FIN", 0},
		{"takes bytes after its end", fake{}, fake{keep: true}, []string{"plain-get"}, []string{"hello-good"}, "takes bytes", 0},
		{"300 ms later", fake{}, fake{late: 300 * time.Millisecond}, []string{"hello-good", "plain-get"}, []string{"junk-64"}, "first byte after 3", 450 * time.Millisecond},
		{"another alert", fake{}, fake{alert: 47}, []string{"half-ccs-33"}, []string{"half-ccs-17"}, "alert 2,47", 0},
		{"another record size", fake{}, fake{size: 801}, []string{"hello-good"}, []string{"plain-get"}, "801", 0},
		{"far from the record size", fake{}, fake{size: 900}, []string{"hello-good"}, []string{"plain-get"}, "900", 0},
		{"closes at byte 50", fake{}, fake{closeAt: 50}, []string{"junk-50", "junk-51", "junk-64", "junk-64-bytewise"}, []string{"junk-49", "hello-good"}, "", 0},
		{"CCS limit", fake{ccsLimit: 33}, fake{ccsLimit: 17}, []string{"half-ccs-17", "half-ccs-32", "hello-ccs-17"}, []string{"half-ccs-16", "hello-good"}, "alert", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := compare(t, tt.reference, tt.target, Options{Runs: 4, Settle: tt.settle})
			got := differing(r)
			for _, w := range tt.want {
				if !slices.Contains(got, w) {
					t.Errorf("differing: got %q, want %q among them", got, w)
				}
			}
			for _, s := range tt.same {
				if slices.Contains(got, s) {
					t.Errorf("differing: got %q, want %q not among them", got, s)
				}
			}
			for _, res := range r.Results {
				if res.Probe == tt.want[0] && !strings.Contains(res.Why, tt.why) {
					t.Errorf("reason: got %q, want %q in it", res.Why, tt.why)
				}
			}
		})
	}
}

// TestNoDifference is about chance: two servers that are alike, at rest and on
// a machine that has other work to do.
func TestNoDifference(t *testing.T) {
	if testing.Short() {
		t.Skip("20 batteries")
	}
	check := func(t *testing.T, n int) {
		for i := range n {
			r := compare(t, fake{more: "page"}, fake{more: "page"}, Options{Runs: 3})
			if r.Differing > 0 {
				var out strings.Builder
				r.Write(&out)
				t.Fatalf("battery %d: got differences, want none:\n%s", i, out.String())
			}
		}
	}
	t.Run("at rest", func(t *testing.T) { check(t, 18) })
	t.Run("busy", func(t *testing.T) {
		var stop atomic.Bool
		defer stop.Store(true)
		for range max(1, runtime.NumCPU()/2) {
			go func() {
				for !stop.Load() {
				}
			}()
		}
		check(t, 2)
	})
}

// TestPatience tells servers apart by when they give up, and by nothing else.
func TestPatience(t *testing.T) {
	t.Parallel()
	a, b, c := fake{patience: time.Second}, fake{patience: time.Second}, fake{patience: 2 * time.Second}
	names := []string{"wait-nothing", "wait-hello-64", "wait-g"} // in the battery's order
	for _, tt := range []struct {
		name   string
		target string
		want   []string
	}{{"alike", b.start(t), nil}, {"more patient", c.start(t), names}} {
		r, err := Run(context.Background(), Options{
			Reference: a.start(t), Target: tt.target, Runs: 4, Deadline: 3 * time.Second,
			Choose: func(p Probe) bool { return slices.Contains(names, p.Name) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := differing(r); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q that differ, want %q", tt.name, got, tt.want)
		}
	}
}

// TestRecorded replays what it was given, and nothing if it was not.
func TestRecorded(t *testing.T) {
	t.Parallel()
	up := fake{}.start(t)
	for _, hello := range [][]byte{nil, newHello("", chrome).records()} {
		r, err := Run(context.Background(), Options{
			Reference: up, Target: up, Runs: 1, Quick: true, Settle: 50 * time.Millisecond, Recorded: hello,
			Choose: func(p Probe) bool { return p.Family == "replay" && p.Name != "replay-bytewise" }, // which takes long
		})
		if err != nil {
			t.Fatal(err)
		}
		if (r.Probes > 0) != (hello != nil) {
			t.Errorf("with a hello of %d bytes: got %d probes", len(hello), r.Probes)
		}
		for _, res := range r.Results {
			if got := res.Target.text(); res.Probe == "replay-hello" && !strings.Contains(got, "ServerHello") {
				t.Errorf("%s: got %s, want the answer to a hello", res.Probe, got)
			}
		}
	}
}

func TestRunRefused(t *testing.T) {
	up := fake{}.start(t)
	for _, o := range []Options{
		{Target: "127.0.0.1:1", Reference: up},
		{Target: up, Reference: "127.0.0.1:1"},
		{Target: "127.0.0.1", Reference: up},
		{Target: up},
		{Target: up, Reference: up, Runs: -1},
	} {
		o.Quick, o.Choose = true, few
		if _, err := Run(context.Background(), o); err == nil {
			t.Errorf("Run %q against %q: got no error, want one", o.Target, o.Reference)
		}
	}
}

func TestRunCancelled(t *testing.T) {
	a, b := fake{}.start(t), fake{}.start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Run(ctx, Options{Target: a, Reference: b, Settle: 10 * time.Second, Parallel: 1,
		Choose: func(p Probe) bool { return p.Name == "junk-64" || p.Name == "wait-nothing" }})
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %v, want an error soon", err, time.Since(began))
	}
}

func TestProbes(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range Probes() {
		if seen[p.Name] || p.Name == "" || strings.ContainsAny(p.Name, " \t") {
			t.Errorf("name: got %q twice, empty or with a space, want one of its own", p.Name)
		}
		seen[p.Name] = true
		if p.Family == "" || p.Sends == "" || strings.ContainsAny(p.Sends, "\r\n") || p.run == nil {
			t.Errorf("%s: got family %q, sends %q; want a line for each, and a function", p.Name, p.Family, p.Sends)
		}
	}
	if len(seen) < 150 {
		t.Errorf("got %d probes, want at least 150", len(seen))
	}
}
