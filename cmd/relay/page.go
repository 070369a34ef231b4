package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"relay/relay/admin"
	"relay/relay/vless"
)

// mostCards bounds the links on a page: who has tried five gives up.
const mostCards = 5

// pageMarker and svgMarker are in every file that showPage and showSVG write, so that
// each replaces what is its own and nothing else.
const (
	pageMarker = `<meta name="generator" content="relay user show">`
	svgMarker  = "<!-- relay user show -->"
)

// ownPage and ownSVG are the beginnings of these files. Others' may quote the markers
// elsewhere.
var (
	ownPage = regexp.MustCompile(`^<!doctype html>\n<html lang="en">\n<head>\n(?:<meta [^>]*>\n)*` + pageMarker)
	ownSVG  = regexp.MustCompile(`^<svg [^>]*>` + svgMarker)
)

//go:embed page/page.html
var pageHTML string

//go:embed page/page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// card is one link on a page.
type card struct {
	Number            int
	Apps              []string // any of them opens the link
	Import            bool     // into an app that is made for links
	URL               template.URL
	Copy              string // the link for where the button does nothing; may be empty
	Durable, Burnable bool
	Last              bool
	Size              int    // of the QR code with its margin, in modules
	Path              string // of the QR code, for SVG
}

// cards are the links that a phone can use, in the order in which to try them.
func cards(links []admin.Link) ([]card, error) {
	var out []card
	for _, l := range choose(links) {
		c := card{
			Number: len(out) + 1, Apps: appsOf(l), Import: strings.HasPrefix(l.URL, "vless://"), URL: template.URL(l.URL),
			Durable: l.Lives == admin.Durable, Burnable: l.Lives == admin.Burnable,
		}
		if c.Import {
			c.Copy = l.URL
		}
		for _, other := range links {
			rest, ok := strings.CutPrefix(other.URL, "https://t.me/")
			if ok && "tg://"+rest == l.URL {
				c.Copy = other.URL
			}
		}
		var err error
		if c.Size, c.Path, err = qrPath(l.URL); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		out[len(out)-1].Last = true
	}
	return out, nil
}

// appsOf are the apps of phones that open a link; none: nobody should be given it.
func appsOf(l admin.Link) []string {
	for _, a := range []struct {
		protocol, prefix string // the protocol may be empty: any
		apps             []string
	}{
		{"", "tg://", []string{"Telegram"}},
		{"", "https://t.me/", []string{"Telegram"}},
		{"", "https://signal.tube/", []string{"Signal"}},
		{"", "https://wa.me/", []string{"WhatsApp"}},
		{"vless-" + vless.TypeXHTTP, "vless://", []string{"v2rayNG", "v2rayN", "Streisand", "Happ"}},
		{"vless-" + vless.TypeWS, "vless://", []string{"Hiddify", "NekoBox"}},
	} {
		if strings.HasPrefix(l.URL, a.prefix) && (a.protocol == "" || a.protocol == l.Protocol) {
			return a.apps
		}
	}
	return nil
}

// writePage writes the page of some links. It names no user itself: a page that is
// found on a phone should not say whose it is. Links of socks5 do.
func writePage(w io.Writer, cs []card) error {
	sum := sha256.Sum256([]byte(pageCSS))
	return pageTemplate.Execute(w, map[string]any{
		"Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
		"Marker": template.HTML(pageMarker), "Style": template.CSS(pageCSS), "Texts": pageTexts, "Cards": cs,
	})
}

// showPage writes a user's page to a file, or "-", and says what is in it.
func showPage(s streams, u admin.UserLinks, path string) error {
	cs, err := cards(u.Links)
	if err != nil {
		return err
	}
	if len(cs) == 0 {
		return noPhoneLinks(u)
	}
	var b bytes.Buffer
	if err := writePage(&b, cs); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	say, name, err := writeOwn(s, path, ownPage, b.Bytes())
	if err != nil {
		return err
	}
	fmt.Fprintf(say, "Wrote %s, with %s. Give it to %s alone, on a channel you trust.\n", name, count(len(cs), "link"), u.Name)
	if len(cs) < 3 {
		fmt.Fprintln(say, "With 3 to 5 links people can go on when one is blocked: add hosts to public, or listeners on other addresses.")
	}
	warnCards(s, u, cs)
	return nil
}

// showSVG writes the QR code of the first link for phones to a file, or "-".
func showSVG(s streams, u admin.UserLinks, path string) error {
	cs, err := cards(u.Links)
	if err != nil {
		return err
	}
	if len(cs) == 0 {
		return noPhoneLinks(u)
	}
	var b strings.Builder
	writeSVG(&b, cs[0])
	say, name, err := writeOwn(s, path, ownSVG, []byte(b.String()))
	if err != nil {
		return err
	}
	fmt.Fprintf(say, "Wrote %s, the code of a link for %s. Show it to %s alone.\n", name, strings.Join(cs[0].Apps, ", "), u.Name)
	warnCards(s, u, cs[:1])
	return nil
}

// writeSVG draws a QR code, black on white, eight pixels to a module.
func writeSVG(b *strings.Builder, c card) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" shape-rendering="crispEdges">`+
		`%s<rect width="%d" height="%d" fill="#fff"/><path d="%s"/></svg>`+"\n",
		8*c.Size, 8*c.Size, c.Size, c.Size, svgMarker, c.Size, c.Size, c.Path)
}

// warnCards repeats the warnings of a user and of links that went into a file, and says
// if the file names the user.
func warnCards(s streams, u admin.UserLinks, cs []card) {
	warnState(s, u.User)
	if slices.ContainsFunc(cs, func(c card) bool {
		return strings.HasPrefix(string(c.URL), "tg://socks?") && strings.Contains(string(c.URL), "&user=")
	}) {
		fmt.Fprintf(s.err, "warning: a socks5 link has its user's name, %s: who finds this knows whose it is\n", u.Name)
	}
	seen := make(map[string]bool)
	for _, c := range cs {
		for _, l := range u.Links {
			if l.URL != string(c.URL) {
				continue
			}
			for _, w := range l.Warnings {
				if !seen[w] {
					seen[w] = true
					fmt.Fprintf(s.err, "warning: %s\n", w)
				}
			}
		}
	}
}

func noPhoneLinks(u admin.UserLinks) error {
	return hinted{
		fmt.Errorf("%s has no link that a phone can use", u.Name),
		"A listener with web, mtproto or socks5 makes one, at an address that phones reach; name the configuration with --config FILE.",
	}
}

// writeOwn replaces a file that begins as ours do, makes one, or writes to standard output,
// which is "-". It returns where to say so, and the name of what was written.
func writeOwn(s streams, path string, ours *regexp.Regexp, b []byte) (say io.Writer, name string, err error) {
	if path == "-" {
		_, err := s.out.Write(b)
		return s.err, "to standard output", err
	}
	// A pipe would be read until somebody else ends it, and a link such as
	// /dev/stdout be replaced.
	switch fi, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return s.out, path, writeFile(path, b)
	case err != nil:
		return nil, "", err
	case fi.IsDir(): // also where the name is empty
		return nil, "", usagef("%s is a folder: want the name of a file, or - for standard output", path)
	case !fi.Mode().IsRegular():
		return nil, "", hinted{fmt.Errorf("%s is not a regular file", path), "Choose another name, or - for standard output."}
	}
	old, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, "", err
	case len(old) > 0 && !ours.Match(old):
		return nil, "", hinted{fmt.Errorf("%s exists and was not written by this command", path), "Remove it first, or choose another name."}
	}
	return s.out, path, writeFile(path, b)
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
