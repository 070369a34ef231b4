package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"relay/relay/config"
	"relay/relay/vless"
	"relay/transport"
	"relay/transport/browser"
	"relay/transport/web"
)

type tryCmd struct {
	Links    []string `arg:"" help:"Links to relays. @FILE reads them from a file, one in a line, and - from standard input: other users of this computer can see a command line." placeholder:"LINK"`
	Lang     string   `help:"Language: en, ru, fa or zh (default: that of the environment)." placeholder:"LANG"`
	Target   string   `help:"Also reach this through each link that works, by TLS, or HTTP on port 80." placeholder:"HOST:PORT"`
	Resolver string   `help:"Who is asked for the names in links: system, or a DoH server as https://HOST/PATH#ADDRESS." default:"system" placeholder:"WHO"`
	Profile  string   `help:"Browser to look like: a file, or a name that relay fingerprint list prints (default: the newest)." placeholder:"PROFILE"`
	Verbose  bool     `help:"Print names, addresses and errors too. Not for strangers' eyes." short:"v"`
	jsonFlag
}

// Help is shown below the usage.
func (*tryCmd) Help() string {
	return `Goes the way of each link, as relay connect does, and prints a line that says how fast
the link is or where it ends: at the name, the first packet, the hello, the request, the
relay itself, or after the first kilobytes, where some networks freeze connections.

Without --verbose the lines have no name, address or key in them, so they can be sent to
whoever gave out the links. About 150 kB for each link come from the relay itself: no
one else is visited. Exit code 0: at least one link works.

Examples:
  relay try 'vless://…'
  relay try @links.txt --lang fa
  relay try @links.txt --resolver https://dns.example/dns-query#192.0.2.1
  relay try @links.txt --target www.example.org:443`
}

const (
	// triesAtOnce is how many links are tried at the same time: more would be in
	// each other's way, and be seen.
	triesAtOnce = 4
	// tryTime bounds the trial of a link.
	tryTime = 30 * time.Second
)

// Run tries the links.
func (c *tryCmd) Run(s streams) error {
	words, err := findWords(c.Lang)
	if err != nil {
		return err
	}
	links, err := readLinks(c.Links, s.in)
	if err != nil {
		return err
	}
	options, err := linkOptions(links, c.Resolver, c.Profile, s.err)
	if err != nil {
		return err
	}
	if c.Target != "" {
		if _, err := transport.ParseTarget(c.Target); err != nil {
			return usagef("--target %q: want a name or address and a port, such as www.example.org:443", c.Target)
		}
	}
	ways, err := c.ways(options)
	if err != nil {
		return err
	}
	sig := catchSignals()
	defer signal.Stop(sig)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-sig:
			cancel()
		case <-ctx.Done():
		}
	}()
	results := make(chan tried)
	go c.tryAll(ctx, ways, results)
	p := newTryPrinter(s.out, words, c, ways)
	for r := range results {
		if err == nil {
			if err = p.add(r); err != nil {
				cancel() // nobody reads
			}
		}
	}
	if err == nil && !p.works {
		id := "none"
		switch {
		case p.reached:
			id = "none/target"
		case c.Verbose:
			id = "none/verbose"
		}
		err = errors.New(words.say(id))
	}
	return err
}

// tryAll tries the links and closes results.
func (c *tryCmd) tryAll(ctx context.Context, ways []tryWay, results chan<- tried) {
	defer close(results)
	var all sync.WaitGroup
	free := make(chan struct{}, triesAtOnce)
	for i := range ways {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			r := c.try(ctx, &ways[i])
			r.link = ways[i].number
			results <- r
		})
	}
	all.Wait()
}

// tryWay is what a link says.
type tryWay struct {
	number  int // among all links
	link    *vless.Link
	front   *web.Front
	way     web.Way
	profile *browser.Profile
}

// ways are those of the links.
func (c *tryCmd) ways(options []upstreamOptions) ([]tryWay, error) {
	file, err := flagProfile(c.Profile)
	if err != nil {
		return nil, err
	}
	profile, err := profileOf(config.Default().State, file)
	if err != nil {
		return nil, err
	}
	var out []tryWay
	for i := range options {
		o := &options[i]
		link, err := o.link()
		if err != nil {
			return nil, err
		}
		way, err := o.Front[0].Way(webLink(link))
		if err != nil {
			return nil, err
		}
		out = append(out, tryWay{o.number, link, &o.Front[0], way, profile})
	}
	return out, nil
}

// tried is what the trial of a link has found.
type tried struct {
	link   int
	host   string
	asked  string // the resolver
	fault  *web.Fault
	target time.Duration
	report web.Report
}

// try tries one link.
func (c *tryCmd) try(ctx context.Context, w *tryWay) tried {
	r := tried{host: w.link.Host, asked: c.Resolver}
	log := slog.New(slog.DiscardHandler)
	var u upstreams
	defer u.close()
	names := u.resolver(upstreamEnv{log: log}, w.profile, w.front)
	t := web.NewTrial(web.ClientOptions{Way: w.way, Profile: w.profile, Names: names, Log: log})
	defer t.Close()
	asking := &vless.Dialer{UUID: w.link.UUID, Carrier: t, Mux: 1, Pad: drawPad}
	defer asking.Close()
	var reach func(context.Context) error
	if c.Target != "" {
		reach = func(ctx context.Context) error {
			began := time.Now()
			err := c.reach(ctx, &vless.Dialer{UUID: w.link.UUID, Carrier: t, Pad: drawPad}, w.profile)
			if err == nil {
				r.target = time.Since(began)
			}
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	r.fault = t.Run(ctx, asking.Ask, reach)
	r.report = t.Report()
	return r
}

// heard notes that somebody has said something.
type heard struct {
	transport.Conn
	yes atomic.Bool
}

// Read implements net.Conn.
func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if n > 0 {
		h.yes.Store(true)
	}
	return n, err
}

// Below returns the wrapped connection.
func (h *heard) Below() transport.Conn { return h.Conn }

// reach gets an answer from the target, whatever that is.
func (c *tryCmd) reach(ctx context.Context, d *vless.Dialer, profile *browser.Profile) error {
	to, err := transport.ParseTarget(c.Target)
	if err != nil {
		return err
	}
	below, err := d.DialStream(ctx, to, nil)
	if err != nil {
		return err
	}
	conn := &heard{Conn: below}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if to.Port() == 80 {
		if _, err = fmt.Fprintf(conn, "HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", to.Host()); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
	} else {
		_, err = profile.Client(ctx, conn, browser.Config{ServerName: to.Name()})
	}
	switch {
	case conn.yes.Load():
		return nil
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		err = io.ErrNoProgress
	}
	return err
}
