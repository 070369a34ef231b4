package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var inbounds = []string{"socks5", "http", "mtproto", "web"}

// secret is what parts use for keys and links.
type secret string

func (secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

func (s *secret) UnmarshalText(text []byte) error {
	if !strings.HasPrefix(string(text), "vless://") {
		return fmt.Errorf("%q is not a link", text)
	}
	*s = secret(text)
	return nil
}

// certificate is written as a word or as a table.
type certificate struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
	word string
}

func (c *certificate) UnmarshalText(text []byte) error {
	if string(text) != "acme" {
		return errors.New(`want "acme" or { cert = "…", key = "…" }`)
	}
	c.word = string(text)
	return nil
}

func (c *certificate) MarshalText() ([]byte, error) { return []byte(c.word), nil }

type front struct {
	Name        string              `toml:"name"`
	Certificate certificate         `toml:"certificate"`
	DCs         map[string][]string `toml:"dcs"`
	Ratio       float64             `toml:"ratio"`
	Port        uint16              `toml:"port"`
	Wait        *time.Duration      `toml:"wait"`
	Any         any                 `toml:"any"`
	Ignored     func()
	shared
}

type shared struct {
	Verbose bool `toml:"verbose"`
}

func (c *front) Check(fault func(key, problem, hint string)) {
	for dc, hosts := range c.DCs {
		for i, h := range hosts {
			if h == "bad" {
				fault(fmt.Sprintf("dcs.%q[%d]", dc, i), "bad host", "")
			}
		}
	}
	if c.Name == "" {
		fault("name", "missing", "")
	}
}

type upstream struct {
	Link secret `toml:"link"`
	Via  string `toml:"via"`
}

func (u *upstream) Check(fault func(key, problem, hint string)) {
	if u.Link == "" {
		fault("link", "missing", "")
	}
}

type mtproto struct {
	Secrets []string `toml:"secrets"`
}

func (m *mtproto) Check(fault func(key, problem, hint string)) {
	if len(m.Secrets) == 0 {
		fault("secrets", "missing", "")
	}
}

func tables() []Table {
	return []Table{{Name: "front", Options: &front{Port: 8080}}, {Name: "upstream", Options: &[]upstream{}}, {Name: "mtproto", Options: &mtproto{}}}
}

// faultsOf parses src and returns its faults, one a line.
func faultsOf(t *testing.T, src string) []string {
	t.Helper()
	c, faults := Parse("r", []byte(src), inbounds, tables())
	if (c == nil) != (len(faults) > 0) {
		t.Errorf("got config %v with %d faults, want either", c, len(faults))
	}
	if len(faults) == 0 {
		return nil
	}
	return strings.Split(faults.Error(), "\n")
}

const full = `
state = "/var/lib/relay"

[[listen]]
address   = "203.0.113.5:443"
public    = ["203.0.113.5", "www.example.org"]
inbounds  = ["web", "mtproto"]

[[listen]]
address   = "127.0.0.1:1080"
inbounds  = ["socks5", "http"]
anonymous = true

[[listen]]
address   = "[2001:db8::1]:0"
inbounds  = ["http"]
anonymous = "public"

[egress]
presets = ["telegram"]
allow   = ["127.0.0.0/8"]
dial_timeout = "1m30s"

[limits]
idle_timeout = "2d"
trusted = ["192.0.2.0/24"]

[admin]
metrics = "127.0.0.1:9090"

[front]
name = "www.example.org"
certificate = { cert = "c", key = "a\"\\\u0007é" }
dcs = { "2" = ["149.154.167.51:443"], "x.y" = [] }
ratio = 2
wait = "1d12h"
any = [1, "two", { three = 3.5 }]
verbose = true

[[upstream]]
link = "vless://one"
[[upstream]]
link = "vless://two"
via = "first"

[mtproto]
secrets = ["ee"]
`

func TestParse(t *testing.T) {
	tabs := tables()
	c, faults := Parse("r", []byte(full), inbounds, tabs)
	if faults != nil {
		t.Fatal(faults)
	}
	if got := len(c.Listen); got != 3 {
		t.Fatalf("got %d listeners, want 3", got)
	}
	for _, tt := range []struct{ name, got, want string }{
		{"state", c.State, "/var/lib/relay"},
		{"public", strings.Join(c.Listen[0].Public, " "), "203.0.113.5 www.example.org"},
		{"anonymous", fmt.Sprint(c.Listen[0].Anonymous, c.Listen[1].Anonymous, c.Listen[2].Anonymous), "loopbackpublic"},
		{"dial_timeout", c.Egress.DialTimeout.String(), "1m30s"},
		{"idle_timeout", c.Limits.IdleTimeout.String(), "48h0m0s"},
		{"a default beside it", c.Limits.FinTimeout.String(), "30s"},
		{"a default of a part", fmt.Sprint(tabs[0].Options.(*front).Port), "8080"},
		{"wait", tabs[0].Options.(*front).Wait.String(), "36h0m0s"},
		{"key", tabs[0].Options.(*front).Certificate.Key, "a\"\\\aé"},
		{"embedded", fmt.Sprint(tabs[0].Options.(*front).Verbose), "true"},
		{"upstream", fmt.Sprint(*tabs[1].Options.(*[]upstream)), "[{vless://one } {vless://two first}]"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	for _, src := range []string{"", "\n\n", "# nothing\n", "\ufeff"} {
		c, faults := Parse("r", []byte(src), inbounds, tables())
		if faults != nil {
			t.Fatalf("%q: got %v, want no faults", src, faults)
		}
		if want := 10 * time.Second; c.Limits.HandshakeTimeout != want || c.Limits.PerSource != 256 || c.Log.Level != "info" {
			t.Errorf("%q: got %+v, want the defaults", src, c.Limits)
		}
	}
}

// Ten faults of five kinds: unknown key, wrong type, unreadable value, a value
// out of place, a missing key.
func TestTenFaults(t *testing.T) {
	src := `stat = "x"
log.level = "debug"

[[listen]]
address = "relay.example.org:443"
inbounds = [
  "http",
  "sock5", # a comment
]
[[listen]]
inbounds = "web"

[egress]
allow = ["127.0.0.0/8",
  "10.0.0.0/8",
  "not a rule/99"]
dial_timeout = 30

[limits]
idle_timeout = "soon"

[frnt]
name = 1
`
	want := []string{
		`r:1: stat: unknown key (did you mean "state"?)`,
		`r:2: log.level: "debug" is not for the file (debug shows targets`,
		`r:5: listen[0].address: "relay.example.org" is not an IP address (names of hosts go into public`,
		`r:8: listen[0].inbounds: unknown inbound "sock5" (did you mean "socks5"?)`,
		`r:10: listen[1].address: missing (write it such as "203.0.113.5:443"`,
		`r:11: listen[1].inbounds: want an array of strings, got a string (inbounds = ["…"], with brackets)`,
		`r:16: egress.allow[2]: `,
		`r:17: egress.dial_timeout: want a duration such as "30s", got an integer (for seconds write "30s")`,
		`r:20: limits.idle_timeout: "soon" is not a duration (write it as "30s", "1h30m" or "2d")`,
		`r:22: frnt: unknown key (did you mean "front"?)`,
	}
	got := faultsOf(t, src)
	if len(got) != len(want) {
		t.Fatalf("got %d faults, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("fault %d: got %s, want %s", i, got[i], want[i])
		}
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"a host as address", "[[listen]]\ninbounds=['web']\naddress='localhost:1'", `r:3: listen[0].address: "localhost" is not an IP address`},
		{"a port out of range", "[[listen]]\ninbounds=['web']\naddress=':65536'", `r:3: listen[0].address: port "65536" is out of range`},
		{"no port", "[[listen]]\ninbounds=['web']\naddress='::1'", `r:3: listen[0].address: "::1" has no port`},
		{"no brackets", "[[listen]]\ninbounds=['web']\naddress='::1:65530:x:443'", `r:3: listen[0].address: "::1:65530:x" is not an IP address`},
		{"same address", "[[listen]]\naddress=':1'\ninbounds=['web']\n[[listen]]\naddress='[::]:1'\ninbounds=['web']", `r:5: listen[1].address: "[::]:1" is the address of listen[0] already`},
		{"the metrics at a listener", "admin.metrics='[::ffff:127.0.0.1]:1'\n[[listen]]\naddress='127.0.0.1:1'\ninbounds=['web']", `r:1: admin.metrics: "[::ffff:127.0.0.1]:1" is the address of listen[0] already`},
		{"anonymous", "[[listen]]\naddress=':1'\ninbounds=['web']\nanonymous=true", `r:4: listen[0].anonymous: true on ":1", which is not a loopback address (write anonymous = "public" if you mean it)`},
		{"anonymous word", "[[listen]]\naddress=':1'\ninbounds=['web']\nanonymous='loopback'", `r:4: listen[0].anonymous: want true, false or "public"`},
		{"an inbound twice", "[[listen]]\naddress=':1'\ninbounds=['web','http',\n'web']", `r:4: listen[0].inbounds: "web" is listed twice`},
		{"no inbounds", "[[listen]]\naddress=':1'\ninbounds=[]", `r:3: listen[0].inbounds: missing (known inbounds: socks5, http, mtproto, web)`},
		{"a link as public", "[[listen]]\naddress=':1'\ninbounds=['web']\npublic=['::1',\n'https://x.org']", `r:5: listen[0].public[1]: "https://x.org" is more than a host`},
		{"one bracket", "[listen]\naddress=':1'", `r:1: listen: want an array of tables, got a table (write [[listen]], with two brackets, above what belongs to it)`},
		{"two brackets", "[[log]]\nlevel='info'", `r:1: log: want a table, got an array (write [log], with one bracket)`},
		{"inline listeners", "listen=[{address=':1',inbounds=['web']},\n{address=':2',\ninbounds=['wbe']}]", `r:3: listen[1].inbounds: unknown inbound "wbe" (did you mean "web"?)`},
		{"dotted keys", "\negress.allow = ['127.0.0.1',\n'//']", `r:3: egress.allow[1]: `},
		{"a table below the top", "[log]\nstate='x'", `r:2: log.state: unknown key ("state" belongs at the top of the file`},
		{"a typo is not missing as well", "[[listen]]\nadress=':1'\ninbounds=['web']", `r:2: listen[0].adress: unknown key (did you mean "address"?)`},
		{"nothing near", "[log]\nqqqqqq=1", `r:2: log.qqqqqq: unknown key (known keys: format, level)`},
		{"negative duration", "limits.fin_timeout='-1s'", `r:1: limits.fin_timeout: "-1s" is negative`},
		{"zero duration", "limits.fin_timeout='0s'", `r:1: limits.fin_timeout: must be longer than zero`},
		{"endless duration", "limits.fin_timeout='106751d24h'", `r:1: limits.fin_timeout: "106751d24h" is too long`},
		{"bare address trusted", "limits.trusted=['::1']", `r:1: limits.trusted[0]: "::1" has no prefix length (for this one address write "::1/128")`},
		{"range not masked", "limits.trusted=['10.0.0.1/8']", `r:1: limits.trusted[0]: "10.0.0.1/8" is an address within a range (write "10.0.0.0/8")`},
		{"per source", "limits.per_source=0", `r:1: limits.per_source: 0 would let nobody in`},
		{"quoted number", "limits.backlog='5'", `r:1: limits.backlog: want an integer, got a string (write it without quotes)`},
		{"burst", "limits.burst=5", `r:1: limits.burst: 5 would refuse real clients (24 or more`},
		{"two covers", "[cover]\nname='x.org'\nsite='/s'\ncertificate='self-signed'\nforward='127.0.0.1:1'", `r:3: cover.site: two covers: forward and site (keep one of`},
		{"empty cover", "[cover]\nname='x.org'", `r:1: cover: there is nothing to show (write one of`},
		{"cover without a certificate", "[cover]\nname='x.org'\nsite='/s'", `r:1: cover.certificate: missing (write`},
		{"cover with half a certificate", "[cover]\nname='x.org'\nsite='/s'\ncertificate={cert='/c'}", `r:4: cover.certificate: half of it is missing`},
		{"certificate word", "[cover]\nname='x.org'\nsite='/s'\ncertificate='acne'", `r:4: cover.certificate: want "acme", "self-signed", {`},
		{"certificate's key", "[cover]\nname='x.org'\nsite='/s'\ncertificate={cert='/c',\nkye='/k'}", `r:4: cover.certificate: unknown key "kye" in it`},
		{"half a certificate among several", "[cover]\nname='x.org'\nsite='/s'\ncertificate=[{cert='/c',key='/k'},{cert='/c'}]", `r:4: cover.certificate: half of it is missing`},
		{"no certificates", "[cover]\nname='x.org'\nsite='/s'\ncertificate=[]", `r:4: cover.certificate: want "acme"`},
		{"words among certificates", "[cover]\nname='x.org'\nsite='/s'\ncertificate=['acme']", `r:4: cover.certificate: want "acme"`},
		{"certificate as a number", "[cover]\nname='x.org'\nsite='/s'\ncertificate={cert=5}", `r:4: cover.certificate: want "acme"`},
		{"certificate of another", "[cover]\nforward='127.0.0.1:1'\ncertificate='self-signed'", `r:3: cover.certificate: not for a cover that is forwarded`},
		{"cover at a path", "[cover]\nname='x.org'\nproxy='http://127.0.0.1/x'\ncertificate='self-signed'", `r:3: cover.proxy: "http://127.0.0.1/x" is not the URL`},
		{"cover without a port", "[cover]\nforward='127.0.0.1'", `r:2: cover.forward: "127.0.0.1" is not a host and a port`},
		{"cover's socket", "[cover]\nforward='unix:nginx.sock'", `r:2: cover.forward: "nginx.sock" is not a full path`},
		{"cover's name", "[cover]\nforward='127.0.0.1:1'\nname='x y'", `r:3: cover.name: "x y" is not a host name`},
		{"cover's names", "[cover]\nforward='127.0.0.1:1'\nnames=['x.org',\n'y z']", `r:4: cover.names[1]: "y z" is not a host name`},
		{"cover's name twice", "[cover]\nforward='127.0.0.1:1'\nname='x.org'\nnames=['y.org',\n'X.org']", `r:5: cover.names[1]: "X.org" is there twice`},
		{"no name", "[cover]\nnames=[]\nsite='/s'\ncertificate='self-signed'", `r:1: cover.name: missing`},
		{"names of nothing", "[cover]\nnames=['x.org']", `r:1: cover: there is nothing to show`},
		{"relative site", "[cover]\nname='x.org'\nsite='s'\ncertificate='self-signed'", `r:3: cover.site: "s" is not a full path`},
		{"no strangers", "[cover]\nforward='127.0.0.1:1'\nconnections=0", `r:3: cover.connections: 0 would show the cover to nobody`},
		{"balancer", "[[listen]]\naddress=':1'\ninbounds=['web']\nproxy_protocol=['lb.example.org']", `r:4: listen[0].proxy_protocol[0]: "lb.example.org" is not a range`},
		{"redirect at a listener", "[[listen]]\naddress=':80'\ninbounds=['web']\n[cover]\nname='x.org'\nsite='/s'\ncertificate='self-signed'\nhttp=':80'", `r:8: cover.http: ":80" is`},
		{"open metrics", "[admin]\nmetrics=':9090'", `r:2: admin.metrics: ":9090" is not a loopback address`},
		{"number out of range", "[front]\nname='x'\nport=65536", `r:3: front.port: 65536 is out of range`},
		{"in a map", "[front]\nname='x'\n[front.dcs]\n1=[]\n2=[\n'x',\n5]", `r:7: front.dcs.2[1]: want a string, got an integer (put it in quotes)`},
		{"check in a map", "[front]\nname='x'\n[front.dcs]\n'a.b'=[\n'x',\n'bad']", `r:6: front.dcs."a.b"[1]: bad host`},
		{"word or table: word", "[front]\nname='x'\ncertificate='acne'", `r:3: front.certificate: want "acme"`},
		{"word or table: table", "[front]\nname='x'\ncertificate={cert='x',\nkye='y'}", `r:4: front.certificate.kye: unknown key (did you mean "key"?)`},
		{"word or table: neither", "[front]\nname='x'\ncertificate=5", `r:3: front.certificate: want a string, got an integer`},
		{"missing in an array of tables", "[[upstream]]\nlink='vless://x'\n\n[[upstream]]\nvia='x'", `r:4: upstream[1].link: missing`},
		{"a part that is used but has no table", "[[listen]]\naddress=':1'\ninbounds=['web',\n'mtproto']", `r:4: mtproto.secrets: missing`},
		{"header after its child", "[front.dcs]\n\n[front]\nverbose=false", `r:3: front.name: missing`},
		{"carriage returns", "\r\n\r\nstat='x'\r\n", `r:3: stat: unknown key`},
		{"secret", "[[upstream]]\nlink='tls://hunter2'", `r:2: upstream[0].link: [secret] is not a link`},
		{"strange key", "\"a\\nb\\u001b[31m\"=1", `r:1: "a\nb\x1b[31m": unknown key`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := faultsOf(t, tt.src)
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got %s, want one fault %s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// Agree is asked when the table is written or named, after what could not be
// read is known, and its keys find their lines in the whole file.
func TestAgree(t *testing.T) {
	const listen = "[[listen]]\naddress = \"127.0.0.1:1\"\ninbounds = [\"web\"]\n"
	for _, tt := range []struct {
		name, src, key string
		want           string // "" for no fault
	}{
		{"not used", "state = \"/s\"\n", "web.port", ""},
		{"named", listen, "web.port", "r:3: web.port: wrong (mend it)"},
		{"written", "\n[web]\nport = 2\n", "web.port", "r:3: web.port: wrong (mend it)"},
		{"written without the key", "\n[web]\n", "web.port", "r:2: web.port: wrong (mend it)"},
		{"elsewhere", listen + "[web]\n", "listen[0].address", "r:2: listen[0].address: wrong (mend it)"},
		{"told already", "\n[web]\nport = \"x\"\n", "web.port", "r:3: web.port: want an integer, got a string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := Parse("r", []byte(tt.src), []string{"web"}, []Table{{
				Name: "web", Options: new(struct {
					Port int `toml:"port"`
				}),
				Agree: func(c *Config, fault func(key, problem, hint string)) { fault(tt.key, "wrong", "mend it") },
			}})
			if got := faults.Error(); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || len(faults) > 1 {
				t.Errorf("faults: got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSyntax(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"duplicate key", "[[listen]]\naddress=':1'\naddress=':2'", `r:3: address: column 1: key address is already defined (near address = …;`},
		{"duplicate table", "[log]\n[log]\n", `r:2: log: column 2: table log already exists (near [log];`},
		{"no quotes", "\nstate = /var/lib", `r:2: column 9: unexpected character U+002F '/' at start of value (near state = …; strings are written in quotes`},
		{"bare duration", "[limits]\nidle_timeout = 30s", `r:2: column 18: strings must be quoted (near idle_timeout = …`},
		{"open header", "[[listen]\n", `r:1: column 9: expected ']]' to close array table name (near [[listen])`},
		{"open array", "state = [\n'x'\n", `r:2: column 4: array is incomplete`},
		{"a secret is not shown", "[[upstream]]\nlink = \"vless://hunter2", `r:2: column 23: unterminated basic string (near link = …)`},
	} {
		got := faultsOf(t, tt.src)
		if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) || strings.Contains(got[0], "hunter2") {
			t.Errorf("%s: got %s, want one fault %s", tt.name, strings.Join(got, "\n"), tt.want)
		}
	}
}

// Each of these takes minutes or the whole stack without the bounds.
func TestHugeInputs(t *testing.T) {
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, tt := range []struct{ name, src, want string }{
		{"too large", strings.Repeat("#", maxFile+1), "r: more than 1048576 bytes"},
		{"keys", numbered("k%d=1\n", 80_000), "r:10001: more than 10000 keys"},
		{"inline keys", "\na={" + strings.TrimSuffix(numbered("k%d=1,", 80_000), ",") + "}", "r:2: more than 10000 keys"},
		{"tables", strings.Repeat("[[listen]]\n", 90_000), "r:10001: more than 10000 keys"},
		{"deep array", "\na=" + strings.Repeat("[", 400_000), "r:2: column"},
		{"closed deep array", "\na=" + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "r:2: tables and arrays nested more than 32 deep"},
		{"deep tables", "\na=" + strings.Repeat("{a=", 5000) + "1" + strings.Repeat("}", 5000), "r:2: tables and arrays nested more than 32 deep"},
		{"deep key", "\n[" + strings.Repeat("a.", 100_000) + "a]", "r:2: tables and arrays nested more than 32 deep"},
		{"long array", "limits.trusted=[" + strings.Repeat("1,", 500_000) + "]", "r: and 499900 more faults"},
		{"empty tables", "listen=[" + strings.Repeat("{},", 300_000) + "]", "r: and 599900 more faults"},
		{"long key", strings.Repeat("a", 500_000) + "=1", `r:1: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…": unknown key`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(faultsOf(t, tt.src), "\n")
			if !strings.Contains("\n"+got, "\n"+tt.want) || len(got) > 100<<10 {
				t.Errorf("got %d bytes %.300s, want %s", len(got), got, tt.want)
			}
		})
	}
}
