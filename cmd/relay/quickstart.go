package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"relay/auth"
	"relay/relay/config"
	"relay/transport/web"
)

const (
	quickstartUser = "alice"
	quickstartPort = "1080"
	// quickstartDrain is short: the person who pressed Ctrl-C is waiting.
	quickstartDrain = time.Second
)

type quickstartCmd struct {
	Direct      bool     `help:"Connect to targets directly. This is the plain form, and the default."`
	Tunnel      bool     `help:"Start two relays, and let the traffic cross between them inside visits to a web site."`
	Dir         string   `help:"State folder (default: relay in the XDG state folder)." placeholder:"DIR" type:"path"`
	Listen      string   `help:"Address to listen on (default: 127.0.0.1:1080)." placeholder:"IP:PORT"`
	Lan         bool     `help:"Listen on this machine's private address, for the phones in the same network."`
	Anonymous   bool     `help:"Ask for no password. On loopback addresses only."`
	EgressAllow []string `help:"Open a range that is refused otherwise, such as 127.0.0.0/8. May be given more than once." placeholder:"CIDR" sep:"none"`
	LogLevel    string   `help:"Log level: debug, info, warn or error. Debug lines show targets." default:"warn" placeholder:"LEVEL"`
}

// Help is shown below the usage.
func (*quickstartCmd) Help() string {
	return `Makes a state folder and a first user if there are none, listens, prints lines
to paste, and runs until Ctrl-C. Running it again keeps user and password.

Examples:
  relay quickstart
  relay quickstart --tunnel                     # an entry and an exit, with the disguise between them
  relay quickstart --lan                        # for the phones in this house
  relay quickstart --egress-allow 127.0.0.0/8   # let it reach this computer too`
}

// Run runs a relay on this computer.
func (c *quickstartCmd) Run(s streams) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	log, flush, err := logger(s.err, cfg.Log, c.LogLevel)
	if err != nil {
		return err
	}
	defer flush()
	sig := catchSignals()
	tabs := tables()
	if c.Tunnel {
		exit, link, err := startExit(cfg, log)
		if err != nil {
			return err
		}
		defer exit.stop(context.Background(), quickstartDrain)
		*optionsOf(upstreamTable, tabs).(*[]upstreamOptions) = []upstreamOptions{{Name: "the exit", Link: web.Secret(link)}}
	}
	in, err := start(cfg, tabs, log, nil)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return c.portTaken(cfg.Listen[0].Address, err)
		}
		return err
	}
	r, err := firstUser(in.users)
	if err == nil && !c.Tunnel { // its exit ends with it
		err = saveQuickstart(cfg)
	}
	if err == nil {
		err = in.readyLines(s.out, r)
	}
	if err == nil {
		err = c.explain(s.out, in, r)
	}
	if err != nil {
		in.release()
		return err
	}
	runUntilSignal(sig, in, log, func() time.Duration { return quickstartDrain })
	fmt.Fprintln(s.out, "Stopped.")
	return nil
}

// config is what the flags say, in the words of the file.
func (c *quickstartCmd) config() (*config.Config, error) {
	if c.Tunnel && c.Direct {
		return nil, usagef("--direct and --tunnel are two things: use one of them")
	}
	cfg := config.Default()
	if c.Dir != "" {
		cfg.State = c.Dir
	}
	if cfg.State == "" {
		return nil, usagef("there is no home folder to keep state in: use --dir DIR")
	}
	address, err := c.address()
	if err != nil {
		return nil, err
	}
	l := config.Listen{Address: address.String(), Inbounds: quickInbounds()}
	if c.Anonymous {
		if !address.Addr().IsLoopback() {
			return nil, usagef("--anonymous on %s would serve everyone who finds it: leave it out, or write a configuration with anonymous = \"public\"", address.Addr())
		}
		l.Anonymous = config.AnonymousLoopback
	}
	cfg.Listen = []config.Listen{l}
	return cfg, allowEgress(cfg, c.EgressAllow)
}

// allowEgress opens the ranges of --egress-allow.
func allowEgress(cfg *config.Config, ranges []string) error {
	cfg.Egress.Allow = ranges
	var faults []string
	cfg.Egress.Check(func(_, problem, hint string) { faults = append(faults, strings.Trim(problem+"; "+hint, "; ")) })
	if len(faults) > 0 {
		return usagef("--egress-allow: %s", strings.Join(faults, "\n"))
	}
	return nil
}

func (c *quickstartCmd) address() (netip.AddrPort, error) {
	switch {
	case c.Lan && c.Listen != "":
		return netip.AddrPort{}, usagef("--lan chooses the address itself: use either --lan or --listen")
	case c.Lan && c.Anonymous:
		return netip.AddrPort{}, usagef("--lan always has a password: others in the network could use the relay in your name")
	case c.Lan:
		for _, a := range machineAddrs() {
			if a.IsPrivate() {
				return netip.AddrPortFrom(a, 1080), nil
			}
		}
		return netip.AddrPort{}, errors.New("this computer has no private network address (such as 192.168.…): is it connected? Or name the address: --listen IP:1080")
	case c.Listen == "":
		return netip.MustParseAddrPort("127.0.0.1:" + quickstartPort), nil
	}
	ap, ok := listenAddr(c.Listen)
	if !ok {
		return netip.AddrPort{}, usagef("--listen %q: want an IP address and a port, such as 127.0.0.1:1080", c.Listen)
	}
	return ap, nil
}

// portTaken says which port is taken and names one that is free.
func (c *quickstartCmd) portTaken(address string, err error) error {
	ap, perr := netip.ParseAddrPort(address)
	if perr != nil {
		return err
	}
	hint := "Stop that program, or choose another port with --listen."
	for port := ap.Port() + 1; port != 0 && port < ap.Port()+100; port++ {
		free := netip.AddrPortFrom(ap.Addr(), port)
		ln, lerr := net.Listen("tcp", free.String())
		if lerr != nil {
			continue
		}
		_ = ln.Close()
		hint = "Stop that program, or use a port that is free: relay quickstart --listen " + free.String()
		break
	}
	return hinted{fmt.Errorf("port %d on %s is taken by another program, perhaps a relay that already runs", ap.Port(), ap.Addr()), hint}
}

// firstUser returns the user whose links are shown, made if there is none.
func firstUser(users *auth.Users) (*auth.Record, error) {
	r, _, err := users.Get(quickstartUser)
	if !errors.Is(err, auth.ErrNoUser) {
		return r, err
	}
	var first *auth.Record
	if err := users.Each(func(r *auth.Record) bool { first = r; return false }); err != nil || first != nil {
		return first, err
	}
	r = &auth.Record{Name: quickstartUser}
	return r, users.Add(r)
}

// saveQuickstart leaves the configuration in the state folder, for the other
// commands and for the day when it becomes a service.
func saveQuickstart(cfg *config.Config) error {
	var b strings.Builder
	b.WriteString("# Written by relay quickstart at every start. To change it, copy it elsewhere\n# and run: relay serve --config COPY\n\n")
	if err := cfg.Write(&b, tables()); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(cfg.State, quickstartConfig), []byte(b.String())); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}

// writeFile replaces a file whole or not at all.
func writeFile(path string, b []byte) (err error) {
	defer func() {
		if p := (*os.PathError)(nil); errors.As(err, &p) {
			p.Path = path // the one that was asked for
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// explain prints what to do next.
func (c *quickstartCmd) explain(w io.Writer, in *instance, r *auth.Record) error {
	k := in.linker()
	a := access{host: k.hosts(0)[0], port: k.port(0)}
	if k.listens[0].Anonymous == "" {
		a.user = r.Name
	}
	with := func(label string) access {
		b := a
		if b.user != "" {
			b.password = r.Password(k.users.Realm(), label)
		}
		return b
	}
	var b strings.Builder
	if c.Tunnel {
		b.WriteString("\nTwo relays are running on this computer, and what you send crosses from one to the\nother inside visits to a web site. Try it in another terminal:\n\n")
	} else {
		b.WriteString("\nRelay is running. Try it in another terminal:\n\n")
	}
	fmt.Fprintf(&b, "  curl -x '%s' https://www.example.org/\n", with("socks5").url("socks5h"))
	b.WriteString("\nHTTP proxy, for programs that want one:\n\n")
	fmt.Fprintf(&b, "  %s\n", with("http").url("http"))
	for _, l := range socks5Links(with("socks5"), nil) {
		if !strings.HasPrefix(l.URL, "tg:") && !strings.HasPrefix(l.URL, "https:") {
			continue
		}
		fmt.Fprintf(&b, "\nTelegram, %s:\n\n  %s\n", strings.TrimPrefix(l.Note, "for Telegram: "), l.URL)
		if l.QR && isTerminal(w) {
			b.WriteByte('\n')
			if err := writeQR(&b, l.URL); err != nil {
				return err
			}
		}
	}
	if c.Tunnel {
		b.WriteString("\nAn exit elsewhere is a relay with the inbound web: see README.md. Its links go into\nrelay connect, and nothing of this is needed.\n")
	}
	if !a.loopback() {
		b.WriteString("\nWho listens in this network sees the password and where you connect to: SOCKS5\nand HTTP proxies have no encryption of their own.\n")
	}
	fmt.Fprintf(&b, "\nUsers and keys are in %s. Another user: relay user add NAME --state %s\nCtrl-C ends the relay.\n", in.config().State, shellQuote(in.config().State))
	_, err := io.WriteString(w, b.String())
	return err
}

// shellQuote makes a path safe to paste.
func shellQuote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
