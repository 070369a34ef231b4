package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"relay/relay"
	"relay/transport/browser"
)

type fingerprintCmd struct {
	Capture fingerprintCaptureCmd `cmd:"" help:"Make a profile of a browser on this computer."`
	List    fingerprintListCmd    `cmd:"" help:"List the profiles there are."`
	Check   fingerprintCheckCmd   `cmd:"" help:"Check a profile and print its fingerprints."`
}

// Help is shown below the usage.
func (*fingerprintCmd) Help() string {
	return `A profile is what a browser sends before anything else, and what a relay that dials
another one sends as well. A censor knows browsers by it, and by it he knows those who
only pretend: keep a profile of a browser that people have now.

Example:
  relay fingerprint list`
}

type fingerprintCaptureCmd struct {
	place
	Listen string `help:"Loopback address to listen on." default:"127.0.0.1:0" placeholder:"IP:PORT"`
	Out    string `help:"File to write, instead of one in the state folder." placeholder:"FILE" type:"path"`
	Name   string `help:"Name of the profile, instead of the browser's." placeholder:"NAME"`
}

// Help is shown below the usage.
func (*fingerprintCaptureCmd) Help() string {
	return `Waits for a browser on this computer to open an address, and writes what it sent as a
profile. Use a fresh window of a browser that is up to date and has no extensions that
change what it sends. Nothing leaves this computer.

Example:
  relay fingerprint capture --out firefox.json`
}

// Run waits for a browser.
func (c *fingerprintCaptureCmd) Run(s streams) error {
	ap, ok := listenAddr(c.Listen)
	if !ok || ap.Addr() != netip.MustParseAddr("127.0.0.1") && ap.Addr() != netip.IPv6Loopback() {
		return usagef("--listen %q: want 127.0.0.1 or [::1] and a port: a browser sends the name of a server only where it has one, and that is localhost", c.Listen)
	}
	state := ""
	if c.Out == "" {
		cfg, _, err := c.load()
		if err != nil {
			return err
		}
		state = cfg.State
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	capture, err := browser.NewCapture(func(text string) { fmt.Fprintln(s.out, text) })
	if err != nil {
		return err
	}
	ln, err := relay.Listen(ctx, ap.String(), 0)
	if err != nil {
		return listenHint(fmt.Errorf("listen on %s: %w", ap, err))
	}
	fmt.Fprintf(s.out, "Open https://localhost:%d/ in the browser. It will warn of the certificate: go on to the page\n"+
		"(Advanced, Proceed to localhost), and leave it open until it says Done.\n", ln.Addr().(*net.TCPAddr).Port)
	p, err := capture.Serve(ctx, ln)
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped before the browser was done: nothing is written")
	}
	if err != nil {
		return err
	}
	if p.Name = c.Name; p.Name == "" {
		p.Name = profileName(p.UserAgent())
	}
	p.Captured = time.Now().Format(time.DateOnly)
	return c.save(s, state, p)
}

// save writes a profile that [browser.Read] accepts.
func (c *fingerprintCaptureCmd) save(s streams, state string, p *browser.Profile) error {
	b, err := p.Encode()
	if err != nil {
		return err
	}
	if _, err := browser.Read(bytes.NewReader(b)); err != nil {
		return fmt.Errorf("this browser cannot be a profile: %w", err)
	}
	file := c.Out
	if file == "" {
		folder := filepath.Join(state, profilesFolder)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("state folder: %w", err)
		}
		file = filepath.Join(folder, p.Name+profileSuffix)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil { //nolint:gosec // a profile is no secret
		return err
	}
	fmt.Fprintf(s.out, "Done: %s, JA4 %s, in %s\n", p.Name, p.TLS.JA4(false), file)
	return nil
}

// browserNames find the browser that a user agent names, the pretended ones last.
var browserNames = []struct {
	name string
	form *regexp.Regexp
}{
	{"firefox", regexp.MustCompile(`Firefox/(\d+)`)},
	{"edge", regexp.MustCompile(`Edg/(\d+)`)},
	{"chromium", regexp.MustCompile(`Chrome/(\d+)`)},
	{"safari", regexp.MustCompile(`Version/(\d+).* Safari/`)},
}

// profileName is such as "chromium-156-linux".
func profileName(agent string) string {
	name := "browser"
	for _, b := range browserNames {
		if m := b.form.FindStringSubmatch(agent); m != nil {
			name = b.name + "-" + m[1]
			break
		}
	}
	for _, system := range []struct{ word, name string }{
		{"Android", "android"}, {"iPhone", "ios"}, {"iPad", "ios"}, {"Windows", "windows"}, {"Macintosh", "mac"}, {"Linux", "linux"},
	} {
		if strings.Contains(agent, system.word) {
			return name + "-" + system.name
		}
	}
	return name
}

type fingerprintListCmd struct {
	place
	jsonFlag
}

// Help is shown below the usage.
func (*fingerprintListCmd) Help() string {
	return `The profile of this program, and those in the folder profiles of the state folder,
newest first. JA3 is of the extensions in the order of their numbers where the browser
draws their order.

Example:
  relay fingerprint list --json`
}

// listedProfile is a profile as JSON.
type listedProfile struct {
	Name     string `json:"name"`
	Captured string `json:"captured"`
	Days     int    `json:"days"` // of age
	JA3      string `json:"ja3"`
	JA4      string `json:"ja4"`
	HTTP2    string `json:"http2"`
	Agent    string `json:"user_agent"`
	File     string `json:"file,omitempty"`
}

// Run lists them.
func (c *fingerprintListCmd) Run(s streams) error {
	cfg, _, err := c.load()
	if err != nil {
		return err
	}
	list, fault := profiles(cfg.State)
	out := make([]listedProfile, len(list))
	for i, p := range list {
		ja3, _ := p.TLS.JA3()
		out[i] = listedProfile{p.Name, p.Captured, days(p.Age(time.Now())), ja3, p.TLS.JA4(false), p.HTTP2.Akamai(), p.UserAgent(), p.file}
	}
	if c.JSON {
		return errors.Join(writeJSON(s.out, out), fault)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCAPTURED\tDAYS\tJA4\tJA3")
	for _, p := range out {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", p.Name, p.Captured, p.Days, p.JA4, p.JA3)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return fault
}

type fingerprintCheckCmd struct {
	place
	Profile string `arg:"" help:"File, or the name of a profile."`
	Against string `help:"Say what another has that this one has not." placeholder:"PROFILE"`
}

// Help is shown below the usage.
func (*fingerprintCheckCmd) Help() string {
	return `Every fault of a profile is reported at once. With --against, a line for each thing
that a watcher could tell them by.

Example:
  relay fingerprint check firefox.json --against chromium-156-linux`
}

// Run checks one.
func (c *fingerprintCheckCmd) Run(s streams) error {
	cfg, _, err := c.load()
	if err != nil {
		return err
	}
	p, err := profileOf(cfg.State, c.Profile)
	if err != nil {
		return err
	}
	ja3, sorted := p.TLS.JA3()
	of := "as sent"
	if sorted {
		of = "of sorted extensions: their order is drawn"
	}
	fmt.Fprintf(s.out, "%s, captured %s, is valid.\n", p.Name, p.Captured)
	fmt.Fprintf(s.out, "user agent  %s\nJA4         %s\n", p.UserAgent(), p.TLS.JA4(false))
	fmt.Fprintf(s.out, "JA4         %s (repeat visit)\nJA3         %s (%s)\nHTTP/2      %s\n", p.TLS.JA4(true), ja3, of, p.HTTP2.Akamai())
	if age := p.Age(time.Now()); age > staleProfile {
		fmt.Fprintf(s.out, "warning: it is %d days old: few people still have this browser\n", days(age))
	}
	if c.Against == "" {
		return nil
	}
	other, err := profileOf(cfg.State, c.Against)
	if err != nil {
		return err
	}
	differences := p.Differences(other)
	for _, d := range differences {
		fmt.Fprintln(s.out, "differs: "+d)
	}
	if len(differences) == 0 {
		fmt.Fprintf(s.out, "%s is the same.\n", other.Name)
	}
	return nil
}
