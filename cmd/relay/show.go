package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"relay/relay/admin"
)

type userShowCmd struct {
	Name string `arg:"" help:"Name of the user."`
	place
	JSON bool   `help:"Print JSON." name:"json" xor:"form"`
	HTML string `help:"Write a page for the user into a file: a button and a QR code for each link, in four languages." name:"html" placeholder:"FILE" type:"path" xor:"form"`
	SVG  string `help:"Write the QR code of the first link for phones into a file." name:"svg" placeholder:"FILE" type:"path" xor:"form"`
}

// Help is shown below the usage.
func (*userShowCmd) Help() string {
	return `Links come in the order in which to try them, with what they are likely to last:
durable ones hide in a web site that is costly to block, burnable ones get blocked
sooner or later, and with them all links to their address. On a terminal, links that a
phone can use come with a QR code.

--html writes one page that works without network, from a phone's or computer's
disk: buttons, QR codes and what to do, in English, Russian, Persian and Chinese. It
says neither the user's name nor yours, but for socks5 links, which have their user's
name. Files are readable by you only (mode 0600); an earlier page, or of
--svg an earlier code, is replaced, any other file is not. A FILE of - is standard output.

Examples:
  relay user show alice
  relay user show alice --html alice.html   # hand it over on a channel you trust
  relay user show alice --svg alice.svg     # to print, or to scan from a screen
  relay user show alice --json`
}

// Run shows a user.
func (c *userShowCmd) Run(s streams) error {
	return c.with(func(cl *admin.Client) error {
		u, err := cl.User(c.Name)
		if err != nil {
			return err
		}
		if c.HTML != "" || c.SVG != "" {
			for _, w := range u.Warnings {
				fmt.Fprintf(s.err, "warning: %s\n", w)
			}
		}
		switch {
		case c.HTML != "":
			return showPage(s, u, c.HTML)
		case c.SVG != "":
			return showSVG(s, u, c.SVG)
		}
		if c.JSON {
			warnState(s, u.User)
		}
		return showUser(s, u, c.JSON)
	})
}

// stateWarning says why none of a user's links works now; empty: they do.
func stateWarning(u admin.User) string {
	switch u.State {
	case "active":
		return ""
	case "disabled":
		return fmt.Sprintf("%s is disabled: no link works until relay user enable %[1]s", u.Name)
	case "expired":
		return fmt.Sprintf("%s expired on %s: no link works until relay user set %[1]s --expires 30d, or another time", u.Name, expiryText(u))
	}
	return fmt.Sprintf("%s is %s: no link works until the quota has room again, see relay user set %[1]s --quota", u.Name, u.State)
}

// warnState warns of a user whose links do not work, beside what goes elsewhere.
func warnState(s streams, u admin.User) {
	if w := stateWarning(u); w != "" {
		fmt.Fprintf(s.err, "warning: %s\n", w)
	}
}

// userJSON is what --json prints for one user.
type userJSON struct {
	admin.User
	Links    map[string][]string `json:"links"` // by protocol
	Order    []admin.Link        `json:"order"` // the same, in the order in which to try them
	Warnings []string            `json:"warnings,omitempty"`
	Moved    bool                `json:"moved,omitempty"`
}

func showUser(s streams, u admin.UserLinks, asJSON bool) error {
	if asJSON {
		out := userJSON{User: u.User, Links: make(map[string][]string), Order: u.Links, Warnings: u.Warnings, Moved: u.Moved}
		for _, l := range u.Links {
			out.Links[l.Protocol] = append(out.Links[l.Protocol], l.URL)
		}
		return writeJSON(s.out, out)
	}
	var b strings.Builder
	writeLimits(&b, u)
	if w := stateWarning(u.User); w != "" {
		fmt.Fprintf(&b, "  warning: %s\n", w)
	}
	for _, w := range u.Warnings {
		fmt.Fprintf(&b, "  warning: %s\n", w)
	}
	if len(u.Links) == 0 && len(u.Warnings) == 0 {
		b.WriteString("\nNo links: the configuration has no listener for users. Name it with --config FILE.\n")
	}
	lives := make(map[string]bool)
	for i, l := range u.Links {
		lives[l.Lives] = true
		fmt.Fprintf(&b, "\n%s:\n  %s\n", joinNonEmpty(l.Protocol, l.Lives, l.Note), l.URL)
		for _, w := range l.Warnings {
			// Once for the links of one address and port, which stand together.
			if i == 0 || u.Links[i-1].Protocol != l.Protocol || strings.Join(u.Links[i-1].Warnings, "") != strings.Join(l.Warnings, "") {
				fmt.Fprintf(&b, "  warning: %s\n", w)
			}
		}
		if l.QR && isTerminal(s.out) {
			if err := writeQR(&b, l.URL); err != nil {
				return err
			}
		}
	}
	if lives[admin.Durable] {
		b.WriteString("\nDurable links hide in a web site that is costly to block.\n")
	}
	if lives[admin.Burnable] {
		b.WriteString("\nBurnable links are easier to find: expect them to be blocked sooner or later.\n")
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}

func joinNonEmpty(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", ")
}

func writeLimits(b *strings.Builder, u admin.UserLinks) {
	fmt.Fprintf(b, "%s: %s, made %s, expires %s\n", u.Name, u.State, u.Created.Local().Format(time.DateOnly), expiryText(u.User))
	fmt.Fprintf(b, "  moved %s up, %s down", human(u.Bytes.Up), human(u.Bytes.Down))
	if u.Quota != "" {
		fmt.Fprintf(b, "; quota %s", quotaText(u.User))
	}
	for _, l := range []struct {
		set  bool
		text string
	}{
		{u.MaxConns > 0, fmt.Sprintf("; at most %d connections", u.MaxConns)},
		{u.MaxIPs > 0, fmt.Sprintf("; at most %d addresses", u.MaxIPs)},
		{u.Rate != "", "; " + u.Rate + " each way"},
	} {
		if l.set {
			b.WriteString(l.text)
		}
	}
	b.WriteString("\n")
}
