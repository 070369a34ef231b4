package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"relay/relay/admin"
	"relay/transport"
)

type statusCmd struct {
	Watch bool          `help:"Refresh until Ctrl-C." short:"w"`
	Every time.Duration `help:"Time between refreshes." default:"2s"`
	place
	jsonFlag
}

// Help is shown below the usage.
func (*statusCmd) Help() string {
	return `Users have a line while they are active, upstreams always, with a score of how well each way did on this
network (50 %: not known), and Telegram's data centres once users have asked for them: by which way each is reached, since when, and why one last failed.

Examples:
  relay status --watch
  relay status --json --config /etc/relay/relay.toml`
}

// Run shows the status.
func (c *statusCmd) Run(s streams) error {
	if c.Every < 100*time.Millisecond {
		return usagef("--every: want at least 100ms")
	}
	cl, err := c.running()
	if err != nil {
		return err
	}
	if !c.Watch {
		return c.once(s, cl, "")
	}
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(sig)
	t := time.NewTicker(c.Every)
	defer t.Stop()
	clearScreen := ""
	if isTerminal(s.out) && !c.JSON {
		clearScreen = "\x1b[H\x1b[2J"
	}
	for {
		if err := c.once(s, cl, clearScreen); err != nil {
			return err
		}
		select {
		case <-sig:
			return nil
		case <-t.C:
		}
	}
}

func (c *statusCmd) once(s streams, cl *admin.Client, before string) error {
	st, err := cl.Status()
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, st)
	}
	var b strings.Builder
	b.WriteString(before)
	writeStatus(&b, st)
	_, err = io.WriteString(s.out, b.String())
	return err
}

func writeStatus(b *strings.Builder, st admin.Status) {
	fmt.Fprintf(b, "relay %s, up %s, on %s\n", st.Version, time.Since(st.Started).Round(time.Second), strings.Join(st.Listen, ", "))
	fmt.Fprintf(b, "connections %d (%d joined), %s up, %s down, memory %s, descriptors %d of %d\n",
		st.Live, st.Flows, human(st.Bytes.Up), human(st.Bytes.Down), human(st.RSS), st.FDs, st.FDLimit)
	if x := st.Strangers; x.Live > 0 || x.Bytes != (admin.Bytes{}) {
		fmt.Fprintf(b, "strangers %d, those who are gone moved %s up, %s down\n", x.Live, human(x.Bytes.Up), human(x.Bytes.Down))
	}
	var ends []string
	for _, w := range transport.Statuses {
		if n := st.Ends[w]; n > 0 {
			ends = append(ends, fmt.Sprintf("%s %d", w, n))
		}
	}
	if len(ends) > 0 {
		fmt.Fprintf(b, "ended: %s\n", strings.Join(ends, ", "))
	}
	if st.Reloaded != nil {
		fmt.Fprintf(b, "configuration reloaded %s\n", clock(*st.Reloaded))
	}
	if d := st.Draining; d != nil {
		fmt.Fprintf(b, "DRAINING since %s: no new connections, %d left, which are cut in %s\n",
			clock(d.Since), st.Live, max(0, time.Until(d.Until)).Round(time.Second))
	}
	if st.Trouble != "" {
		fmt.Fprintf(b, "TROUBLE: %s\n", st.Trouble)
	}
	writeUpstreams(b, st.Upstreams)
	writeDCs(b, st.DCs)
	writeActivity(b, st.Users)
}

// clock is a time as people here read it.
func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

func writeUpstreams(b *strings.Builder, ups []admin.Upstream) {
	if len(ups) == 0 {
		return
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "UPSTREAM\tSTATE\tSCORE\tSTREAMS\tOPENED\tCONNECTED IN\tLAST PROBE\tLAST TROUBLE")
	for _, u := range ups {
		state, took, probe, trouble := "untried", "", "none", "none"
		switch {
		case u.Live:
			state = admin.Up
		case u.Failures > 0:
			state = "DOWN"
		case u.Opened > 0:
			state = "at rest"
		case u.Probed != nil:
			state = "probed"
		}
		if u.Took > 0 {
			took = u.Took.Round(time.Millisecond).String()
		}
		if u.Failed != nil {
			trouble = u.Trouble + " " + clock(*u.Failed)
		}
		if u.Probed != nil {
			probe = "good " + clock(*u.Probed)
			if u.ProbeError != "" {
				probe = "bad " + clock(*u.Probed)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f %%\t%d\t%d\t%s\t%s\t%s\n", u.Name, state, 100*u.Score, u.Streams, u.Opened, took, probe, trouble)
	}
	_ = w.Flush()
}

func writeDCs(b *strings.Builder, dcs []admin.DC) {
	if len(dcs) == 0 {
		return
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DATA CENTRE\tSTATE\tSINCE\tKIND\tAT\tWAYS DOWN\tLAST ERROR")
	for _, d := range dcs {
		name, state, since, last := strconv.Itoa(d.ID), d.State, "", "none"
		if d.ID < 0 {
			name = strconv.Itoa(-d.ID) + " media"
		}
		if d.State == admin.Down {
			state = "DOWN"
		}
		if d.Since != nil {
			since = clock(*d.Since)
		}
		if d.LastErrorAt != nil {
			last = d.LastError + " " + clock(*d.LastErrorAt)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d of %d\t%s\n", name, state, since, d.Kind, d.At, d.WaysDown, d.Ways, last)
	}
	_ = w.Flush()
}

func writeActivity(b *strings.Builder, users []admin.Activity) {
	if len(users) == 0 {
		return
	}
	byName := make(map[string]admin.Activity)
	for _, u := range users {
		byName[u.Name] = u
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tCONNECTIONS\tUP\tDOWN\tUP/S\tDOWN/S")
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		u := byName[name]
		if name == "" {
			name = "(anonymous)"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", name, u.Sessions, human(u.Bytes.Up), human(u.Bytes.Down), human(u.Rate.Up), human(u.Rate.Down))
	}
	_ = w.Flush()
}
