package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
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
	return `Examples:
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
		fmt.Fprintf(b, "configuration reloaded %s\n", st.Reloaded.Local().Format(time.DateTime))
	}
	if st.Trouble != "" {
		fmt.Fprintf(b, "TROUBLE: %s\n", st.Trouble)
	}
	writeActivity(b, st.Users)
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
