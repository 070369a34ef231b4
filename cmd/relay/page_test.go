package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"relay/relay/admin"
	"relay/relay/config"
)

// nodes are the elements of a page with a tag, in order; "" is every tag.
func nodes(n *html.Node, tag string) (out []*html.Node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && (tag == "" || d.Data == tag) {
			out = append(out, d)
		}
	}
	return out
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// hostile is a value that no field should be able to carry out of its place.
const hostile = `"><script>alert(1)</script>`

func pageOf(t *testing.T, links []admin.Link) (doc *html.Node, raw string) {
	t.Helper()
	cs, err := cards(links)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writePage(&b, cs); err != nil {
		t.Fatal(err)
	}
	doc, err = html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return doc, b.String()
}

func telegramLinks(host string) []admin.Link {
	q := "proxy?server=" + host + "&port=443&secret=ee00"
	return []admin.Link{
		{Protocol: "mtproto-ee", URL: "tg://" + q, Lives: admin.Burnable, QR: true},
		{Protocol: "mtproto-ee", URL: "https://t.me/" + q, Lives: admin.Burnable},
	}
}

func TestPageLinks(t *testing.T) {
	var links []admin.Link
	for i := range 7 {
		links = append(links, telegramLinks(fmt.Sprintf("h%d.example.org", i))...)
	}
	links = append(links, admin.Link{Protocol: "http", URL: "http://u:p@h:1"}, admin.Link{Protocol: "x", URL: "x://y", QR: true})
	doc, raw := pageOf(t, links)
	var want, wantCopies []string
	for _, l := range links[:2*mostCards] {
		if strings.HasPrefix(l.URL, "https://") { // a tap would show the secret to t.me
			wantCopies = append(wantCopies, l.URL)
		} else {
			want = append(want, l.URL)
		}
	}
	sections := nodes(doc, "section")
	for _, s := range sections {
		var got []string
		for _, a := range nodes(s, "a") {
			got = append(got, attr(a, "href"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("links in %s: got %q, want %q", attr(s, "lang"), got, want)
		}
		var copies []string
		for _, c := range nodes(s, "code") {
			copies = append(copies, text(c))
		}
		if !slices.Equal(copies, wantCopies) {
			t.Errorf("links to copy in %s: got %q, want %q", attr(s, "lang"), copies, wantCopies)
		}
		if got := len(nodes(s, "figure")); got != mostCards {
			t.Errorf("QR codes in %s: got %d, want %d", attr(s, "lang"), got, mostCards)
		}
		if got := strings.Count(text(s), "one day. Then try the next"); attr(s, "lang") == "en" && got != mostCards-1 {
			t.Errorf("pointers to the next link: got %d, want %d", got, mostCards-1)
		}
	}
	if strings.Contains(raw, "u:p@") {
		t.Error("page: got a link that no phone can use, want none")
	}
}

func webPageLinks(host string) []admin.Link {
	const id = "vless://00000000-0000-4000-8000-000000000000@"
	return []admin.Link{
		{Protocol: "vless-xhttp", URL: id + host + ":443?type=xhttp#a", Lives: admin.Durable, QR: true},
		{Protocol: "vless-ws", URL: id + host + ":443?type=ws#b", Lives: admin.Durable, QR: true},
	}
}

// TestPageDurable: links for apps that take the whole device say which apps these are,
// and can be copied, as not every such app opens them from a page.
func TestPageDurable(t *testing.T) {
	telegram := telegramLinks("h.example.org")
	doc, _ := pageOf(t, append(webPageLinks("www.example.org"), telegram...))
	for _, s := range nodes(doc, "section") {
		titles, codes := nodes(s, "h2"), nodes(s, "code")
		if len(titles) != 3 || len(codes) != 3 {
			t.Fatalf("section %s: got %d titles and %d links to copy, want 3 of each", attr(s, "lang"), len(titles), len(codes))
		}
		for i, apps := range [][]string{{"v2rayNG", "v2rayN", "Streisand", "Happ"}, {"Hiddify", "NekoBox"}, {"Telegram"}} {
			for _, app := range apps {
				if !strings.Contains(text(titles[i]), app) {
					t.Errorf("title %d in %s: got %q, want %s in it", i+1, attr(s, "lang"), text(titles[i]), app)
				}
			}
		}
		for i, l := range append(webPageLinks("www.example.org"), telegram[1]) {
			if got := text(codes[i]); got != l.URL {
				t.Errorf("link %d to copy in %s: got %q, want %q", i+1, attr(s, "lang"), got, l.URL)
			}
		}
		if strings.Contains(text(s), "%s") {
			t.Errorf("section %s: got a text without its apps, want none", attr(s, "lang"))
		}
	}
}

// TestPageChoice: what blocks one host does not block most of the page.
func TestPageChoice(t *testing.T) {
	mtproto := func(host string, port int, kinds ...string) (out []admin.Link) {
		for _, k := range kinds {
			out = append(out, admin.Link{Protocol: "mtproto-" + k, Lives: admin.Burnable, QR: true,
				URL: fmt.Sprintf("tg://proxy?server=%s&port=%d&secret=%s", host, port, k)})
		}
		return out
	}
	all := []string{"ee", "dd", "simple"}
	home := mtproto("192.168.1.2", 443, "ee")
	home[0].Lives = ""
	for _, tt := range []struct {
		name  string
		links []admin.Link
		want  string // host, port and kind of each
	}{
		{
			"hosts before kinds",
			slices.Concat(mtproto("a", 443, all...), mtproto("b", 443, all...), mtproto("c", 443, all...), mtproto("d", 444, all...)),
			"a 443 ee, b 443 ee, c 443 ee, d 444 ee, a 443 dd",
		},
		{
			"one host's ports before kinds",
			slices.Concat(mtproto("a", 443, all...), mtproto("A", 444, all...)),
			"a 443 ee, A 444 ee, a 443 dd, A 444 dd, a 443 simple",
		},
		{
			"durable and burnable in turns",
			slices.Concat(webPageLinks("a"), webPageLinks("b"), mtproto("a", 444, all...), mtproto("b", 444, all...)),
			"a 443 xhttp, b 443 xhttp, a 443 ws, a 444 ee, b 444 ee",
		},
		{
			"durable before burnable",
			slices.Concat(webPageLinks("a"), mtproto("b", 443, "ee"), mtproto("c", 443, "ee"), mtproto("d", 443, "ee"), mtproto("e", 443, "ee")),
			"a 443 xhttp, b 443 ee, c 443 ee, d 443 ee, e 443 ee",
		},
		{
			"at home last",
			slices.Concat(home, mtproto("a", 443, all...), mtproto("b", 443, "ee", "dd")),
			"a 443 ee, b 443 ee, a 443 dd, b 443 dd, a 443 simple",
		},
	} {
		cs, err := cards(tt.links)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range cs {
			u, err := url.Parse(string(c.URL))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			got = append(got, cmp.Or(q.Get("server"), u.Hostname())+" "+cmp.Or(q.Get("port"), u.Port())+" "+cmp.Or(q.Get("secret"), q.Get("type")))
		}
		if g := strings.Join(got, ", "); g != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, g, tt.want)
		}
	}
}

func TestPageLanguages(t *testing.T) {
	doc, _ := pageOf(t, telegramLinks("h.example.org"))
	var got []string
	for _, s := range nodes(doc, "section") {
		got = append(got, attr(s, "lang")+" "+attr(s, "dir"))
		if len(nodes(s, "h1")) != 1 || len(nodes(s, "p")) < 5 {
			t.Errorf("section %s: got %d headings and %d paragraphs, want 1 and at least 5", attr(s, "lang"), len(nodes(s, "h1")), len(nodes(s, "p")))
		}
	}
	want := []string{"en ltr", "ru ltr", "fa rtl", "zh ltr"}
	if !slices.Equal(got, want) {
		t.Errorf("sections: got %q, want %q", got, want)
	}
	for _, l := range pageTexts {
		for _, rule := range []string{"#choose-" + l.Lang + ":checked ~ main ." + l.Lang, "#choose-" + l.Lang + ":checked ~ nav", "#choose-" + l.Lang + ":focus-visible"} {
			if !strings.Contains(pageCSS, rule) {
				t.Errorf("style: got no rule %q, want one: the language cannot be chosen without", rule)
			}
		}
	}
	chosen := 0
	for _, in := range nodes(doc, "input") {
		if slices.ContainsFunc(in.Attr, func(a html.Attribute) bool { return a.Key == "checked" }) {
			chosen++
		}
	}
	if chosen != 1 {
		t.Errorf("languages chosen at first: got %d, want 1", chosen)
	}
}

// TestPageStandsAlone: nothing on the page is fetched, run or sent.
func TestPageStandsAlone(t *testing.T) {
	links := append(webPageLinks("h.example.org"+hostile), telegramLinks("h.example.org"+hostile)...)
	doc, raw := pageOf(t, links)
	for _, n := range nodes(doc, "") {
		if slices.Contains([]string{"script", "link", "img", "iframe", "object", "embed", "form", "base"}, n.Data) {
			t.Errorf("element: got <%s>, want none", n.Data)
		}
		for _, a := range n.Attr {
			reference := a.Key == "href" || a.Key == "src" || a.Key == "srcset" || a.Key == "action" || a.Key == "data"
			ours := n.Data == "a" && (strings.HasPrefix(a.Val, "tg://proxy?") || strings.HasPrefix(a.Val, "vless://")) || n.Data == "use" && strings.HasPrefix(a.Val, "#code-")
			if reference && !ours || strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("<%s>: got %s=%q, want no reference, handler or style", n.Data, a.Key, a.Val)
			}
		}
	}
	for _, bad := range []string{"url(", "@import", "<script"} {
		if strings.Contains(raw, bad) {
			t.Errorf("page: got %q in it, want none", bad)
		}
	}
	style := text(nodes(doc, "style")[0])
	sum := sha256.Sum256([]byte(style))
	policy := ""
	for _, m := range nodes(doc, "meta") {
		if attr(m, "http-equiv") == "Content-Security-Policy" {
			policy = attr(m, "content")
		}
	}
	for _, want := range []string{"default-src 'none'", "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy: got %q, want %q in it", policy, want)
		}
	}
}

func TestPageNamesNobody(t *testing.T) {
	_, raw := pageOf(t, telegramLinks("h.example.org"))
	if strings.Contains(raw, "alice") {
		t.Error("page: got the user's name, want none")
	}
}

// TestShowNames: who makes a page or a code with the user's name in it is told.
func TestShowNames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		a     access
		named bool
	}{
		{"with a password", access{host: "9.9.9.9", port: 1081, user: "alice", password: "p"}, true},
		{"anonymous", access{host: "9.9.9.9", port: 1081}, false},
	} {
		u := admin.UserLinks{User: admin.User{Name: "alice", State: "active"}, Links: socks5Links(tt.a, nil)}
		for form, show := range map[string]func(streams, admin.UserLinks, string) error{"html": showPage, "svg": showSVG} {
			var out, said bytes.Buffer
			if err := show(streams{out: &out, err: &said}, u, "-"); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(said.String(), "warning: a socks5 link has its user's name, alice"); got != tt.named {
				t.Errorf("%s, %s: got %q, want the warning: %v", form, tt.name, said.String(), tt.named)
			}
			if got := strings.Contains(out.String(), "alice"); form == "html" && got != tt.named {
				t.Errorf("%s, %s: got a page with the name: %v, want %v", form, tt.name, got, tt.named)
			}
		}
	}
}

// TestShowUnserved: all forms say that a user's links do not work.
func TestShowUnserved(t *testing.T) {
	past := time.Date(2020, 1, 2, 3, 4, 5, 0, time.Local)
	for _, tt := range []struct{ state, want string }{
		{"active", ""},
		{"disabled", "warning: alice is disabled: no link works until relay user enable alice"},
		{"expired", "warning: alice expired on 2020-01-02 03:04: no link works until relay user set alice --expires"},
		{"over quota", "warning: alice is over quota: no link works until the quota has room"},
	} {
		u := admin.UserLinks{User: admin.User{Name: "alice", State: tt.state, Expires: &past}, Links: telegramLinks("h.example.org")}
		for form, show := range map[string]func(s streams) (said string, err error){
			"text": func(s streams) (string, error) {
				err := showUser(s, u, false)
				return s.out.(*bytes.Buffer).String(), err
			},
			"html": func(s streams) (string, error) {
				err := showPage(s, u, filepath.Join(t.TempDir(), "a.html"))
				return s.err.(*bytes.Buffer).String(), err
			},
			"svg": func(s streams) (string, error) {
				err := showSVG(s, u, filepath.Join(t.TempDir(), "a.svg"))
				return s.err.(*bytes.Buffer).String(), err
			},
		} {
			got, err := show(streams{out: new(bytes.Buffer), err: new(bytes.Buffer)})
			if err != nil || !strings.Contains(got, tt.want) || tt.want == "" && strings.Contains(got, "warning") {
				t.Errorf("%s of a user who is %s: got %q, %v, want %q", form, tt.state, got, err, tt.want)
			}
		}
	}
}

func TestLinkWarnings(t *testing.T) {
	self := config.Cover{Certificate: config.Certificate{Word: "self-signed"}}
	for _, tt := range []struct {
		name  string
		host  string
		port  uint16
		part  part
		cover config.Cover
		want  string // in the only warning; empty: none
		local bool
	}{
		{"public address", "9.9.9.9", 443, part{}, config.Cover{}, "", false},
		{"public name", "relay.example.org", 8443, part{}, self, "", false},
		{"sample address", "203.0.113.5", 443, part{}, config.Cover{}, "address of examples", false},
		{"sample IPv6", "2001:db8::1", 443, part{}, config.Cover{}, "address of examples", false},
		{"loopback", "127.0.0.1", 443, part{}, config.Cover{}, "this computer itself", true},
		{"private", "192.168.1.10", 443, part{}, config.Cover{}, "own network only", true},
		{"carrier's NAT", "100.64.0.1", 443, part{}, config.Cover{}, "own network only", true},
		{"unique local", "fd00::1", 443, part{}, config.Cover{}, "own network only", true},
		{"one word", "relay", 443, part{}, config.Cover{}, "not a public name", true},
		{"home network", "Relay.Home.ARPA.", 443, part{}, config.Cover{}, "not a public name", true},
		{"no port", "9.9.9.9", 0, part{}, config.Cover{}, "port is not known", false},
		{"self-signed", "9.9.9.9", 443, part{certified: true}, self, "self-signed", false},
		{"own certificate", "9.9.9.9", 443, part{certified: true}, config.Cover{}, "", false},
	} {
		a := access{host: tt.host, port: tt.port}
		tt.part.name = "web"
		got := linker{listens: []config.Listen{{Address: ":443", Inbounds: []string{"web"}}}, cover: tt.cover}.linkWarnings(0, tt.part, a)
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if a.local() != tt.local {
			t.Errorf("%s: local: got %v, want %v", tt.name, a.local(), tt.local)
		}
	}
}
