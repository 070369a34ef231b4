package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"relay/relay/config"
	"relay/transport/resolve"
	"relay/transport/web"
)

type connectCmd struct {
	Links       []string `arg:"" help:"Links to relays, the best first. @FILE reads them from a file, one in a line, and - from standard input: other users of this computer can see a command line." placeholder:"LINK"`
	Listen      string   `help:"Address to listen on." default:"127.0.0.1:1080" placeholder:"IP:PORT"`
	State       string   `help:"Folder for what is remembered (default: connect in the XDG state folder)." placeholder:"DIR" type:"path"`
	Resolver    string   `help:"Who is asked for the names in links: system, or a DoH server as https://HOST/PATH#ADDRESS." default:"system" placeholder:"WHO"`
	Profile     string   `help:"Browser to look like: a file, or a name that relay fingerprint list prints (default: the newest)." placeholder:"PROFILE"`
	EgressAllow []string `help:"Open a range that is refused otherwise, such as 10.0.0.0/8: targets in the relay's own network, if it opens them too. May be given more than once." placeholder:"CIDR" sep:"none"`
	LogLevel    string   `help:"Log level: debug, info, warn or error. Debug lines show targets." default:"error" placeholder:"LEVEL"`
	jsonFlag
}

// Help is shown below the usage.
func (*connectCmd) Help() string {
	return `Runs a proxy for the programs on this computer, SOCKS5 and HTTP on one port, whose
connections cross the border inside visits to a web site. Takes the vless:// links that
relay user show prints, and those of Xray servers (XHTTP or WebSocket, with TLS).
Prints ready lines at once, then which link is in use, and runs until Ctrl-C.

Names of targets are never looked up here, and nothing goes out beside the links. Targets
with a private address are refused here and at the relay, as such an address is another
machine there. To reach those in the relay's network, open their range at both ends:
--egress-allow here, [egress] allow in its configuration.
To find out which links work here, and where others are blocked: relay try.

Examples:
  relay connect 'vless://…'
  relay connect @links.txt --listen 127.0.0.1:9050
  relay connect @links.txt --egress-allow 10.0.0.0/8   # machines in the relay's network
  curl -x socks5h://127.0.0.1:1080 https://www.example.org/`
}

// mostLinks bounds the links of a command line.
const mostLinks = 64

// Run runs the proxy until a signal.
func (c *connectCmd) Run(s streams) error {
	cfg, tabs, err := c.config(s.in, s.err)
	if err != nil {
		return err
	}
	log, flush, err := logger(s.err, cfg.Log, c.LogLevel)
	if err != nil {
		return err
	}
	defer flush()
	sig := catchSignals()
	in, err := start(cfg, tabs, log, nil)
	if err != nil {
		return err
	}
	if err := in.readyLines(s.out, nil); err != nil {
		in.release()
		return err
	}
	p := newWaysLine(s.out, in.upstreams.set, c.JSON)
	p.start()
	runUntilSignal(sig, in, log, func() time.Duration { return quickstartDrain })
	return p.stop()
}

// config is what the flags say, in the words of the file.
func (c *connectCmd) config(stdin io.Reader, stderr io.Writer) (*config.Config, []config.Table, error) {
	links, err := readLinks(c.Links, stdin)
	if err != nil {
		return nil, nil, err
	}
	cfg := config.Default()
	switch {
	case c.State != "":
		cfg.State = c.State
	case cfg.State == "":
		return nil, nil, usagef("there is no home folder to keep state in: use --state DIR")
	default:
		cfg.State = filepath.Join(cfg.State, "connect")
	}
	ap, ok := listenAddr(c.Listen)
	if !ok {
		return nil, nil, usagef("--listen %q: want an IP address and a port, such as 127.0.0.1:1080", c.Listen)
	}
	if !ap.Addr().IsLoopback() {
		return nil, nil, usagef("--listen %s would serve everyone who finds it: use a loopback address, or write a configuration with users and [[upstream]]", ap.Addr())
	}
	cfg.Listen = []config.Listen{{Address: ap.String(), Inbounds: quickInbounds(), Anonymous: config.AnonymousLoopback}}
	if err := allowEgress(cfg, c.EgressAllow); err != nil {
		return nil, nil, err
	}
	profile, err := flagProfile(c.Profile)
	if err != nil {
		return nil, nil, err
	}
	options, err := linkOptions(links, c.Resolver, profile, stderr)
	if err != nil {
		return nil, nil, err
	}
	tabs := tables()
	*optionsOf(upstreamTable, tabs).(*[]upstreamOptions) = options
	return cfg, tabs, nil
}

// linkOptions are the upstreams of links, the n-th called link n. One that cannot be used
// is named in a line on stderr, and left out: among many that were passed around some
// always are for other programs. There is an error if none is left.
func linkOptions(links []string, resolver, profile string, stderr io.Writer) ([]upstreamOptions, error) {
	var who resolve.Config
	if err := who.UnmarshalTOML(resolver); err != nil {
		return nil, usagef("--resolver: %v", err)
	}
	var options []upstreamOptions
	for i, l := range links {
		o := upstreamOptions{number: i + 1, Link: web.Secret(l), Profile: profile, Front: []web.Front{{Resolver: who}}}
		if len(links) > 1 {
			o.Name = fmt.Sprintf("link %d", i+1)
		} else {
			o.Name = "the link"
		}
		var faults []string
		o.Check(func(_, problem, _ string) { faults = append(faults, problem) })
		switch problem := strings.Join(faults, "; "); {
		case problem == "":
			options = append(options, o)
		case len(links) == 1:
			return nil, usagef("link 1: %s", problem)
		default:
			fmt.Fprintf(stderr, "relay: link %d is left out: %s\n", i+1, problem)
		}
	}
	if len(options) == 0 {
		return nil, usagef("none of the %d links can be used", len(links))
	}
	return options, nil
}

// readLinks takes links from arguments, and from what those name.
func readLinks(args []string, stdin io.Reader) (links []string, err error) {
	for _, a := range args {
		file, named := strings.CutPrefix(a, "@")
		switch {
		case a == "-":
			err = eachLink(stdin, &links)
		case named:
			var f *os.File
			if f, err = os.Open(file); err == nil {
				err = errors.Join(eachLink(f, &links), f.Close())
			}
		default:
			links = append(links, a)
		}
		if err != nil {
			return nil, usagef("links: %w", err)
		}
	}
	switch {
	case len(links) == 0:
		return nil, usagef("there is no link: want vless://…, as relay user show prints it")
	case len(links) > mostLinks:
		return nil, usagef("there are %d links: want at most %d", len(links), mostLinks)
	}
	return links, nil
}

func eachLink(r io.Reader, links *[]string) error {
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return err
	}
	in := bufio.NewScanner(strings.NewReader(plainText(b)))
	for in.Scan() {
		if l := bareLink(in.Text()); l != "" && !strings.HasPrefix(l, "#") {
			*links = append(*links, l)
		}
	}
	return in.Err()
}

// plainText is the text of a file, also of one in UTF-16, as Windows' editors and shells
// write them.
func plainText(b []byte) string {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case !bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return string(b)
	}
	var units []uint16
	for b = b[2:]; len(b) > 1; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	return string(utf16.Decode(units))
}

// bareLink is a link without what editors and messengers put around one: marks that
// nobody sees, such as a byte order mark or those for the direction of text, and quotation
// marks and angle brackets.
func bareLink(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Pi, unicode.Pf) || strings.ContainsRune("\"'`<>„‚", r)
	})
}
