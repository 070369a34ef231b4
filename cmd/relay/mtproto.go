package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/config"
	"relay/relay/mtproto"
	"relay/transport/faketls"
)

// mtprotoNames are the server names of ee secrets.
func mtprotoNames(cfg *config.Config, options any) []string {
	o := options.(*mtproto.Options)
	if len(o.Names) > 0 {
		return o.Names
	}
	hosts := cfg.Cover.Hosts()
	return hosts[:min(1, len(hosts))]
}

// mtprotoAgrees checks [mtproto] against the listeners that name it.
func mtprotoAgrees(options any, c *config.Config, fault faultFunc) {
	o, on := options.(*mtproto.Options), false
	for i, l := range c.Listen {
		if !slices.Contains(l.Inbounds, "mtproto") {
			continue
		}
		on = true
		if l.Anonymous != "" {
			fault(fmt.Sprintf("listen[%d].anonymous", i), "mtproto needs a secret, and this listener serves people without one", "give mtproto a listener of its own")
		}
	}
	if on && slices.Contains(o.Kinds(), mtproto.KindFakeTLS) && len(mtprotoNames(c, options)) == 0 {
		problem, hint := "no server name for ee secrets, as there is no [cover]", "write a [cover] table: strangers see it, and ee secrets carry its name"
		if c.Cover.Set() {
			problem, hint = "no server name for ee secrets, as [cover] has none", "write the name of the site below [cover]"
		}
		fault("mtproto.names", problem, hint+`; or other names below [mtproto], such as names = ["cdn.example.net"]`)
	}
	if on && slices.Contains(o.Kinds(), mtproto.KindFakeTLS) && len(o.Names) == 0 {
		mtprotoNamed(c, fault)
	}
}

// mtprotoNamed checks the cover's first name as that of ee secrets.
func mtprotoNamed(c *config.Config, fault faultFunc) {
	for _, name := range mtprotoNames(c, new(mtproto.Options)) {
		if _, err := netip.ParseAddr(name); err != nil {
			continue
		}
		key := "cover.name"
		if c.Cover.Name == "" {
			key = "cover.names[0]"
		}
		fault(key, fmt.Sprintf("%q is an address, and ee secrets carry it as a server name: no browser asks for one (RFC 6066, Section 3)", name), `write the name of the site, or other names for ee secrets: names = ["cdn.example.net"] below [mtproto]`)
	}
}

// plainPlaces is where places are kept while no secret carries a name, so that the
// links with names are the same when they come back.
const plainPlaces = mtproto.Label + "/plain"

// mtprotoPrepare puts every user under a name before anybody is served.
func mtprotoPrepare(cfg *config.Config, options any, users *auth.Users) ([]finding, error) {
	n := auth.Naming{Label: mtproto.Label, Key: mtproto.Label, Names: mtprotoNames(cfg, options), Most: faketls.MaxCandidates}
	named := slices.Contains(options.(*mtproto.Options).Kinds(), mtproto.KindFakeTLS)
	if !named {
		n.Key, n.Names = plainPlaces, []string{auth.Unnamed}
	}
	p, err := users.Place(n)
	if err != nil {
		return nil, err
	}
	var out []finding
	if named {
		out = endedLinks(p, n.Names)
	}
	if len(p.Left) > 0 {
		out = append(out, finding(fmt.Sprintf("no MTProto link works for %s: %d users for each name, as every one is tried; add to names below [mtproto], and to those of the cover, or disable or remove users", someOf(p.Left), faketls.MaxCandidates)))
	}
	return out, nil
}

// mtprotoWarns says why a user has no link, or another than before.
func mtprotoWarns(a access, options any) string {
	r, o := a.record, options.(*mtproto.Options)
	_, ok := r.Secret(a.realm, mtproto.Label)
	at := r.Places[mtproto.Label]
	switch {
	case !ok:
		return fmt.Sprintf("%s has no MTProto link: what was set as the password for mtproto is no secret; see relay user rotate %[1]s --only mtproto", r.Name)
	case r.Disabled: // may get another place when that ends
	case a.place == "":
		return fmt.Sprintf("%s has no MTProto link: every name has its %d users; add to names below [mtproto], and to those of the cover, or disable or remove users, then relay reload", r.Name, faketls.MaxCandidates)
	case at != "" && at != auth.Unnamed && at != a.place && slices.Contains(o.Kinds(), mtproto.KindFakeTLS):
		return fmt.Sprintf("the ee links that %s has are under %s, where this configuration has no place: they end when a relay starts with it; show the links again then, as others may be added before", r.Name, at)
	case !a.nameless && len(o.Kinds()) > 1:
		return fmt.Sprintf("%s has no dd or simple link: they say no name, so that all users are tried, %d at most, and there are as many who are older", r.Name, faketls.MaxCandidates)
	}
	return ""
}

// mtprotoPassword reads a secret from elsewhere, in any form that clients take: one
// with a server name is found under that name only.
func mtprotoPassword(text string, options any) (password, place string, err error) {
	kind, key, name, err := mtproto.ParseSecret(strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")))
	if err != nil {
		return "", "", errors.New("no secret for mtproto: want 32 hexadecimal digits, or what a link has behind secret=")
	}
	if kinds := options.(*mtproto.Options).Kinds(); kind != mtproto.KindSimple && !slices.Contains(kinds, kind) {
		return "", "", fmt.Errorf("secrets below [mtproto] lacks %s: the link with this secret would not work; add it there, or write the 32 hexadecimal digits behind it for links of another kind", kind)
	}
	return hex.EncodeToString(key[:]), strings.ToLower(name), nil
}

// someOf names the first few users of a list.
func someOf(users []string) string {
	const most = 5
	if n := len(users) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(users[:most], ", "), n)
	}
	return strings.Join(users, ", ")
}

// mtprotoCandidates are what a listener with mtproto asks: FakeTLS, and frames
// on the wire where the options have them.
func mtprotoCandidates(e env, options any) ([]relay.Candidate, error) {
	o := options.(*mtproto.Options)
	k := keptOf(e)
	keys := secrets{e.users, mtproto.Label}
	table := o.Table(k.health)
	k.covers.recall(filepath.Join(e.cfg.State, coversFile), coverWord(e.cfg.Cover))
	var out []relay.Candidate
	if slices.Contains(o.Kinds(), mtproto.KindFakeTLS) {
		s, err := faketls.NewServer(faketls.Options{
			Names: mtprotoNames(e.cfg, options), Keys: proofs{keys}, Replays: k.hellos, Skew: o.MaxSkew(),
			Cover: k.covers.of, Observe: k.observer(e.log), Records: recordsOf(o),
		})
		if err != nil {
			return nil, err
		}
		in := &mtproto.Inbound{Keys: keys, DCs: table, Inside: true, Reencrypt: o.Reencrypt}
		out = append(out, &relay.Carrier{Server: s, Inside: []relay.Inbound{in}})
	}
	if plain := o.Plain(); len(plain) > 0 {
		out = append(out, &mtproto.Inbound{Keys: keys, DCs: table, Plain: plain, Replays: k.frames, Reencrypt: o.Reencrypt})
	}
	return out, nil
}

func recordsOf(o *mtproto.Options) faketls.Records {
	if o.FullRecords() {
		return faketls.FullRecords()
	}
	return faketls.DefaultRecords()
}

// secrets are the users of one label, for protocols without user names.
type secrets struct {
	users *auth.Users
	label string
}

func (s secrets) Candidates(name string, source netip.Addr, yield func(auth.User, *[auth.SecretSize]byte) bool) {
	s.users.Candidates(s.label, name, source, yield)
}

func (s secrets) Key(u auth.User) ([auth.SecretSize]byte, bool) { return s.users.SecretOf(u) }

func (s secrets) Proved(source netip.Addr, u auth.User) { s.users.Proved(source, u) }

// proofs are secrets as FakeTLS asks for them.
type proofs struct{ secrets }

func (p proofs) Proved(u auth.User, _ string, source netip.Addr) { p.secrets.Proved(source, u) }

// mtprotoKeep is what outlives a reload: a hello that was accepted before it is
// a replay after it.
type mtprotoKeep struct {
	hellos *auth.Replays
	frames *mtproto.Replays
	covers covers
	health *mtproto.Health

	mu   sync.Mutex
	told map[event]time.Time
}

// event is what is logged of a user, or of nobody.
type event struct {
	kind faketls.EventKind
	user string
}

// mostTold is how many events are remembered.
const mostTold = 1024

func keptOf(e env) *mtprotoKeep {
	return e.keep("mtproto", func() any {
		return &mtprotoKeep{
			hellos: hellosOf(e), frames: mtproto.NewReplays(),
			health: mtproto.NewHealth(func(c mtproto.Change) { tellDC(e.log, c) }),
			told:   make(map[event]time.Time),
		}
	}).(*mtprotoKeep)
}

// observer logs what an operator should know, each kind once a minute at most for a
// user: strangers can cause most of them.
func (k *mtprotoKeep) observer(log *slog.Logger) func(faketls.Event) {
	return func(e faketls.Event) {
		k.mu.Lock()
		now := time.Now()
		what := event{e.Kind, e.User.Name}
		quiet := now.Sub(k.told[what]) < time.Minute
		if !quiet {
			if len(k.told) == mostTold {
				clear(k.told)
			}
			k.told[what] = now
		}
		k.mu.Unlock()
		if quiet {
			return
		}
		switch e.Kind {
		case faketls.ClockWrong:
			log.Warn("a client's clock is wrong, or ours: it is shown the cover", "user", e.User.Name, "ahead", e.Skew)
		case faketls.Replay:
			log.Warn("somebody replays a user's hello: it is shown the cover", "user", e.User.Name)
		case faketls.Full:
			tellFull(log, e.User.Name)
		case faketls.BudgetSpent:
			log.Warn("many hellos with unknown secrets: only the likeliest users are tried for each")
		}
	}
}

// tellFull says who fills the memory of hellos; empty: all together.
func tellFull(log *slog.Logger, user string) {
	if user == "" {
		log.Warn("hellos fill the replay memory, and no user's are the most: some are shown the cover; if one secret is shared by all, give it to fewer, or each a user of their own")
		return
	}
	log.Warn("a user's hellos fill the replay memory: some of them are shown the cover, those of others are not; unless many phones share the secret, rotate or disable the user", "user", user)
}

// mtprotoRun measures the cover and watches the data centres as long as a
// configuration is in force.
func mtprotoRun(ctx context.Context, e env, options any, cover *coverOf) {
	o := options.(*mtproto.Options)
	k := keptOf(e)
	var all sync.WaitGroup
	defer all.Wait()
	if o.Probe > 0 {
		all.Go(func() { o.Table(k.health).Watch(ctx, e.dialer, o.Probe) })
	}
	if cover != nil && slices.Contains(o.Kinds(), mtproto.KindFakeTLS) {
		all.Go(func() { k.covers.measure(ctx, cover.dial, mtprotoNames(e.cfg, options), cover.look(), e.log) })
	}
}

// mtprotoLinks are a user's links, the disguised ones first.
func mtprotoLinks(a access, options any) []link {
	o := options.(*mtproto.Options)
	key, ok := a.record.Secret(a.realm, mtproto.Label)
	if !ok || a.place == "" {
		return nil
	}
	kinds := o.Kinds()
	slices.SortStableFunc(kinds, func(x, y mtproto.Kind) int { return strings.Compare(string(y), string(x)) }) // simple, ee, dd
	slices.SortStableFunc(kinds, func(x, y mtproto.Kind) int { return rankOf(x) - rankOf(y) })
	var out []link
	for _, kind := range kinds {
		if kind != mtproto.KindFakeTLS && !a.nameless {
			continue
		}
		protocol, note := "mtproto-"+string(kind), mtprotoNotes[kind]
		for i, u := range mtproto.Links(a.host, a.port, mtproto.Secret(kind, key, a.place)) {
			l := link{Protocol: protocol, URL: u, Note: note, QR: i == 0 && !a.loopback()}
			if i > 0 {
				l.Note = "the same for chats where tg:// cannot be tapped; a browser shows the secret to t.me"
			}
			out = append(out, l)
		}
	}
	return out
}

func rankOf(k mtproto.Kind) int {
	return slices.Index([]mtproto.Kind{mtproto.KindFakeTLS, mtproto.KindPadded, mtproto.KindSimple}, k)
}

var mtprotoNotes = map[mtproto.Kind]string{
	mtproto.KindFakeTLS: "for Telegram, disguised as a visit to a web site; where Telegram's own hello is hunted it lives for hours or days",
	mtproto.KindPadded:  "for Telegram, as noise: only where nobody looks for that",
	mtproto.KindSimple:  "for old Telegram clients, as noise that is easy to recognise",
}

// mtprotoFindings warns of what gets a relay blocked.
func mtprotoFindings(cfg *config.Config, l config.Listen, options any) []finding {
	o := options.(*mtproto.Options)
	var out []finding
	if slices.Contains(o.Kinds(), mtproto.KindFakeTLS) {
		out = append(out, mtprotoNameFindings(cfg, mtprotoNames(cfg, options))...)
	}
	out = append(out, dcFindings(cfg, o)...)
	if !l.Covered(&cfg.Cover) {
		out = append(out, finding(fmt.Sprintf("%s: strangers at the MTProto port are closed without a byte, which no web server does; write a [cover] table", l.Address)))
	}
	if ap, ok := listenAddr(l.Address); ok && ap.Port() != 443 && !ap.Addr().IsLoopback() && slices.Contains(o.Kinds(), mtproto.KindFakeTLS) {
		out = append(out, finding(fmt.Sprintf("%s: a web site on another port than 443 is rare, and some networks let nothing else pass", l.Address)))
	}
	return out
}

// mtprotoNameFindings warns of names in ee secrets that burn others, or that a
// prober finds out about.
func mtprotoNameFindings(cfg *config.Config, names []string) []finding {
	var out []finding
	lasting := lastingNames(cfg)
	first := mtprotoNames(cfg, new(mtproto.Options)) // where nothing is said
	for _, name := range names {
		switch {
		case slices.ContainsFunc(lasting, func(n string) bool { return strings.EqualFold(n, name) }):
			out = append(out, finding(fmt.Sprintf("the server name in ee secrets is that of durable links, %s: one phone that uses them burns the name for the other protocols; write another in names below [mtproto], and in those of [cover]", name)))
		case len(lasting) > 0 && len(first) > 0 && strings.EqualFold(first[0], name):
			out = append(out, finding(fmt.Sprintf("the server name in ee secrets is the cover's own, %s: one phone that uses them burns the name of the site that hides durable links as well; write another in names below [mtproto], and in those of [cover]", name)))
		case !cfg.Cover.IsHost(name) && cfg.Cover.Set() && cfg.Cover.Forward == "":
			out = append(out, finding(fmt.Sprintf("the site does not answer to %s, which ee secrets carry: a prober who asks for it is refused where users are not; add it to names below [cover], or forward to a server that has it", name)))
		}
	}
	return out
}
