package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	hexA = "0123456789abcdef0123456789abcdef"
	hexB = "fedcba9876543210fedcba9876543210"
	// eeA is hexA with the name www.example.com.
	eeA = "ee" + hexA + "7777772e6578616d706c652e636f6d"
)

// summary is a foreign in one line, with the secrets' first bytes.
func (f *foreign) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v %v %v", f.Program, f.kinds(), f.Ports, f.Public)
	for _, u := range f.Users {
		fmt.Fprintf(&b, " %s=%x@%s", u.Name, u.Key[:2], u.Server)
		if u.MaxConns+u.MaxIPs > 0 {
			fmt.Fprintf(&b, "/%d/%d", u.MaxConns, u.MaxIPs)
		}
		if !u.Expires.IsZero() {
			b.WriteString("<" + u.Expires.UTC().Format(time.DateOnly))
		}
		if u.Disabled {
			b.WriteString("!")
		}
	}
	if f.IPv6 {
		b.WriteString(" IPv6")
	}
	if f.Bare {
		b.WriteString(" bare")
	}
	fmt.Fprintf(&b, " lost %d", len(f.Lost))
	return b.String()
}

func TestParseForeign(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"mtg v2, hexadecimal", "c.toml", "secret = \"" + eeA + "\"\nbind-to = \"0.0.0.0:3128\"", "mtg [ee] [3128] [] mtg=0123@www.example.com lost 0"},
		{"mtg v2, base64", "c.toml", "secret = \"7gEjRWeJq83vASNFZ4mrze93d3cuZXhhbXBsZS5jb20\"\nbind-to = \":443\"", "mtg [ee] [443] [] mtg=0123@www.example.com lost 0"},
		{"mtg v2, more", "x", "\ufeffsecret = \"" + eeA + "\"\npublic-ipv4 = \"9.9.9.9\"\n[network]\nproxies = [\"socks5://h:1\"]\n[network.public-ip]\nipv6 = \"2620:fe::9\"", "mtg [ee] [] [9.9.9.9 2620:fe::9] mtg=0123@www.example.com lost 1"},
		{"telemt, least", "t.toml", "[access.users]\nalice = \"" + hexA + "\"", "telemt [ee] [443] [] alice=0123@petrovich.ru lost 0"},
		{"telemt, modes", "t.toml", "[general.modes]\nclassic = true\nsecure = true\ntls = false\n[access.users]\nalice = \"" + hexA + "\"\n\"żółw !\" = \"" + hexB + "\"", "telemt [dd simple] [443] [] alice=0123@ w=fedc@ lost 0"},
		{"telemt, modes without tls", "t.toml", "[general.modes]\nsecure = true\n[access.users]\nalice = \"" + hexA + "\"", "telemt [ee dd] [443] [] alice=0123@petrovich.ru lost 0"},
		{"telemt, disabled users", "t.toml", "[access.users]\nalice = \"" + hexA + "\"\nzoe = \"" + hexB + "\"\n[access.user_enabled]\nalice = true\nzoe = false\nnobody = false", "telemt [ee] [443] [] alice=0123@petrovich.ru zoe=fedc@petrovich.ru! lost 0"},
		{"telemt, what of access is lost", "t.toml", "[access]\nuser_max_tcp_conns_global_each = 5\nuser_max_unique_ips_global_each = 0\nignore_time_skew = false\nreplay_check_len = 9\nnew = 1\ncidr_rate_limits = {}\nuser_rate_limits = {a = {up_bps = 1}}\nuser_source_deny = {a = [\"192.0.2.0/24\"]}\nusers = {a = \"" + hexA + "\"}", "telemt [ee] [443] [] a=0123@petrovich.ru lost 5"},
		{"telemt, more", "t.toml", `[general]
use_middle_proxy = true
[general.links]
public_host = "p.example.org"
public_port = 8443
[[server.listeners]]
ip = "0.0.0.0"
announce = "q.example.org"
[censorship]
tls_domain = "A.example.com"
tls_domains = ["a.example.com", "b.example.com"]
[access.users]
bob = "` + hexB + `"
[access.user_max_tcp_conns]
bob = 7
[access.user_max_unique_ips]
bob = 2
[access.user_expirations]
bob = 2077-01-02T00:00:00Z
[access.user_data_quota]
bob = 1
[[upstreams]]
type = "direct"
[[upstreams]]
type = "socks5"
[[upstreams]]
type = "socks4"
enabled = false
`, "telemt [ee] [8443] [p.example.org q.example.org] bob=fedc@a.example.com/7/2<2077-01-02 lost 4"},
		{"telemt, ports of listeners", "t.toml", "[server]\nport = 444\n[[server.listeners]]\nip = \"0.0.0.0\"\nport = 8443\nannounce = \"p.example.org\"\n[[server.listeners]]\nip = \"::\"\n[[server.listeners]]\nip = \"127.0.0.1\"\nport = 8080\ntransport = \"web\"\n[access.users]\na = \"" + hexA + "\"", "telemt [ee] [444 8443] [p.example.org] a=0123@petrovich.ru IPv6 lost 0"},
		{"telemt, a public port", "t.toml", "[general.links]\npublic_port = 443\n[server]\nlisten_addr_ipv6 = \"::\"\n[[server.listeners]]\nip = \"9.9.9.9\"\nport = 8443\n[access.users]\na = \"" + hexA + "\"", "telemt [ee] [443] [9.9.9.9] a=0123@petrovich.ru lost 0"},
		{"telemt, IPv6 without listeners", "t.toml", "[network]\nipv6 = true\n[access.users]\na = \"" + hexA + "\"", "telemt [ee] [443] [] a=0123@petrovich.ru IPv6 lost 0"},
		{"mtg v2, IPv6", "c.toml", "secret = \"" + eeA + "\"\nbind-to = \"[2620:fe::9]:443\"", "mtg [ee] [443] [] mtg=0123@www.example.com IPv6 lost 0"},
		{"MTProxy, IPv6 and padding alone", "run.sh", "mtproto-proxy -6 -R -H 443 -S " + hexA, "MTProxy [dd] [443] [] mtproxy=0123@ IPv6 lost 0"},
		{"mtprotoproxy, modes that are not said", "config.py", "USERS={'tg':'" + hexA + "'}\nMODES = {'secure': True}\nAD_TAG = f(x)", "mtprotoproxy [dd] [3256] [] tg=0123@ IPv6 lost 1"},
		{"mtprotoproxy, IPv4 alone", "config.py", "USERS = {'a': '" + hexA + "'}\nTLS_ONLY=1\nLISTEN_ADDR_IPV6 = None", "mtprotoproxy [ee] [3256] [] a=0123@www.google.com lost 0"},
		{"MTProxy, a line", "run.sh", "./mtproto-proxy -u nobody -p 8888 -H 443,8443 -S " + hexA + " -S" + hexB + " --aes-pwd proxy-secret proxy-multi.conf -M 1", "MTProxy [dd] [443 8443] [] mtproxy=0123@ mtproxy=fedc@ bare lost 0"},
		{"MTProxy, a unit", "m.service", "[Service]\n# ExecStart=/old/mtproto-proxy -S x\nExecStart=-/opt/mtproto-proxy -H 443 \\\n  --mtproto-secret=" + hexA + " -P " + hexB + " -D www.Example.com\n", "MTProxy [ee] [443] [] mtproxy=0123@www.example.com lost 1"},
		{"MTProxy, a comment behind", "run.sh", "mtproto-proxy -H 443 -S " + hexA + " -M 1 # -S " + hexB + " \\\nmtproto-proxy -H 80 -S f#f 2>&1 | x # don't use 80", "got an error: line 1: the secret is in no form"},
		{"MTProxy, a comment with a quotation mark", "run.sh", "mtproto-proxy -H 443,'8#443' -S " + hexA + " \\\n -M 1 # don't use 80 -S " + hexB + " \\\n-S " + hexB, "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 0"},
		{"MTProxy, a comment within a unit's line", "m.service", "ExecStart=/opt/mtproto-proxy -H 443 \\\n# -S " + hexB + " \\\n; don't\n  -S " + hexA, "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 0"},
		{"mtg v1", "mtg.txt", "$ nohup ./mtg run -b 0.0.0.0:3128 --cloak-port=443 " + eeA + " " + hexB + " --stats-bind=127.0.0.1:3129 >/dev/null 2>&1 &", "mtg [ee] [3128] [] mtg=0123@www.example.com lost 1"},
		{"mtg v1, dd", "mtg.txt", "mtg run -4 9.9.9.9:443 'dd" + hexA + "'", "mtg [dd] [443] [9.9.9.9] mtg=0123@ lost 0"},
		{"mtg v2, flags of simple-run", "up.sh", "mtg simple-run -b 64kb -s socks5://[::1]:9 --domain-fronting-ip ::1 --timeout 5s '[::]:443' " + eeA, "mtg [ee] [443] [] mtg=0123@www.example.com IPv6 lost 1"},
		{"mtg v1, its own port", "mtg.txt", "docker run -d -p 443:3128 nineseconds/mtg:1 run " + eeA, "mtg [ee] [443] [] mtg=0123@www.example.com lost 0"},
		{"mtg v1, IPv6", "mtg.txt", "mtg run -6 [2620:fe::9]:443 " + eeA, "mtg [ee] [443] [2620:fe::9] mtg=0123@www.example.com lost 0"},
		{"MTProxy, within a shell", "x", "su nobody -s /bin/sh -c 'cd /x && ./mtproto-proxy -H 443 -S " + hexA + " -M 1'", "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 0"},
		{"MTProxy, in a container", "x", "docker run -d -p8443:443 --name mtproto-proxy -v proxy-config:/data -e TAG=" + hexA + " --env=SECRET=" + hexA + "," + hexB + " docker.io/telegrammessenger/proxy:latest", "MTProxy [dd] [8443] [] mtproxy=0123@ mtproxy=fedc@ bare lost 1"},
		{"MTProxy, in a container by its digest", "x", "docker create -e SECRET=" + hexA + " localhost:5000/telegrammessenger/proxy@sha256:" + hexB, "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 0"},
		{"MTProxy, in a container without its script", "x", "docker run -d -p 8443:443 --entrypoint /usr/local/bin/mtproto-proxy telegrammessenger/proxy -u root -H 443 -S " + hexA, "MTProxy [dd] [8443] [] mtproxy=0123@ bare lost 0"},
		{"MTProxy, in a container with a shell", "x", "docker run telegrammessenger/proxy sh -c 'exec mtproto-proxy -H 443 -S " + hexA + "'", "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 0"},
		{"MTProxy, a compose file with a command", "x.yml", "services:\n  proxy:\n    image: telegrammessenger/proxy:latest\n    command: mtproto-proxy -u root -H 443 -S " + hexA, "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 0"},
		{"MTProxy, a unit that gets the image", "x.service", "ExecStartPre=-/usr/bin/docker pull telegrammessenger/proxy\nExecStart=/usr/bin/docker run -p 443:443 -e SECRET=" + hexA + " telegrammessenger/proxy\nExecStop=/usr/bin/docker stop proxy", "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 0"},
		{"MTProxy, two containers, one without a secret", "x", "docker run telegrammessenger/proxy\ndocker run -e SECRET=" + hexA + " telegrammessenger/proxy", "MTProxy [dd] [443] [] mtproxy=0123@ bare lost 1"},
		{"mtg, by its digest", "x", "docker run -p 443:3128 nineseconds/mtg@sha256:" + hexB + " simple-run 0.0.0.0:3128 " + eeA, "mtg [ee] [443] [] mtg=0123@www.example.com lost 0"},
		{"telemt, what is no host", "t.toml", "[general.links]\npublic_host = \"e\\u001bv]\\n[x]\"\n[censorship]\ntls_domains = [\"x\\u001b\\n\"]\n[[upstreams]]\ntype = \"a\\u001b\"\n[access.users]\na = \"" + hexA + "\"", "telemt [ee] [443] [] a=0123@petrovich.ru lost 3"},
		{"mtg v2, in a container", "up.sh", "docker run -d --name mtg -p 443:3128/tcp nineseconds/mtg:2 \\\n simple-run -n 1.1.1.1 -i prefer-ipv4 0.0.0.0:3128 " + eeA, "mtg [ee] [443] [] mtg=0123@www.example.com lost 0"},
		{"mtg v2, in a container, a port without a blank", "up.sh", "docker run -p443:3128 nineseconds/mtg:2 simple-run 0.0.0.0:3128 " + eeA, "mtg [ee] [443] [] mtg=0123@www.example.com lost 0"},
		{"mtg v2, in a container, flags together", "up.sh", "docker run -dp=127.0.0.1:443:3128/tcp nineseconds/mtg:2 simple-run 0.0.0.0:3128 " + eeA, "mtg [ee] [443] [] mtg=0123@www.example.com lost 0"},
		{"mtg v2, in a container, flags with their values apart", "up.sh", "docker run --name -p -itp 443:3128 --publish 80:81 nineseconds/mtg:2 simple-run 0.0.0.0:3128 " + eeA, "mtg [ee] [443] [] mtg=0123@www.example.com lost 0"},
		{"mtprotoproxy", "config.py", "PORT = 8443\n\nUSERS = {\n  'tg': '" + hexA + "',  # the first\n  \"t2\": \"" + hexB + "\",\n}\nMODES = {\"classic\": False, \"secure\": False, \"tls\": True}\nTLS_DOMAIN = \"www.example.com\"\nAD_TAG = '" + hexA + "'\n", "mtprotoproxy [ee] [8443] [] tg=0123@www.example.com t2=fedc@www.example.com IPv6 lost 1"},
		{"mtprotoproxy, old switches", "config.py", "USERS={'tg':'" + hexA + "'}\nTLS_ONLY = True", "mtprotoproxy [ee] [3256] [] tg=0123@www.google.com IPv6 lost 0"},
		{"mtprotoproxy, defaults", "config.py", "USERS={'tg':'" + hexA[:16] + "'\n'" + hexA[16:] + "'}", "mtprotoproxy [ee dd simple] [3256] [] tg=0123@www.google.com IPv6 lost 0"},
		{"mtprotoproxy, limits", "config.py", "USERS={'tg':'" + hexA + "'}\nTLS_ONLY=1\nUSER_MAX_TCP_CONNS = {'tg': 8, 'x': 9}\nUSER_EXPIRATIONS = {\"tg\": \"31/12/2077\"}\nUSER_DATA_QUOTA = {'tg': 10 * 1024**3}\nMY_DOMAIN='p.example.org'\nSOCKS5_HOST='h'", "mtprotoproxy [ee] [3256] [p.example.org] tg=0123@www.google.com/8/0<2077-12-31 IPv6 lost 2"},
		{"mtprotoproxy, annotations", "config.py", "PORT: \"int=8\" = 8443\nAD_TAG: str\nUSERS : Dict[str,  # of secrets =\n  'a=b'] = {'tg': '" + hexA + "'}\nif True:\n    pass\nelse: X = 1\nTLS_ONLY: bool = True\nUSERS: dict", "mtprotoproxy [ee] [8443] [] tg=0123@www.google.com IPv6 lost 0"},
		{"mtprotoproxy, a plain annotation", "x", "USERS: dict = {'tg': '" + hexA + "'}\nTLS_ONLY = True", "mtprotoproxy [ee] [3256] [] tg=0123@www.google.com IPv6 lost 0"},
		{"mtprotoproxy, days as strptime takes them", "config.py", "USERS={'a':'" + hexA + "', 'b':'" + hexB + "'}\nTLS_ONLY=1\nUSER_EXPIRATIONS = {'a': '1/2/2077', 'b': ' 9/12/2077'}", "mtprotoproxy [ee] [3256] [] a=0123@www.google.com<2077-02-01 b=fedc@www.google.com<2077-12-09 IPv6 lost 0"},
		{"mtprotoproxy, code around", "config.py", "import os\n\"\"\"USERS = {}\n\"\"\"\nX = os.environ.get('A', '(') or {\n  1: [2, (3)],\n}\ndef f(a='}'):\n    X = 5\n    return a\nUSERS = ({'a': ('" + hexA + "'), **{}}) \\\n  \nif True:\n    X = 'x.example'\nf\"{PORT}\"\nTLS_ONLY = True", "got an error: USERS has an entry"},
		{"mtprotoproxy, code around, plain users", "config.py", "import os\n\"\"\"USERS = {}\n\"\"\"\nX = os.environ.get('A', '(') or {\n  1: [2, (3)],\n}\ndef f(a='}'):\n    X = 5\n    return a\nUSERS = ({'a': ('" + hexA + "')}) \\\n  \nif True:\n    X = 'x.example'\nf\"{PORT}\"\nTLS_ONLY = True", "mtprotoproxy [ee] [3256] [] a=0123@www.google.com IPv6 lost 0"},
	} {
		f, err := parseForeign(tt.file, []byte(tt.text))
		got := fmt.Sprintf("got an error: %v", err)
		if err == nil {
			got = f.summary()
		}
		if want, isErr := strings.CutPrefix(tt.want, "got an error: "); isErr && err != nil && strings.HasPrefix(err.Error(), want) {
			continue
		}
		if f != nil && strings.ContainsAny(strings.Join(append(f.Lost, f.Public...), ""), "\x1b\n") {
			t.Errorf("%s: got %q, want nothing that a terminal takes for orders", tt.name, f.Lost)
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestParseForeignFaults(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"empty", "x", "", "no configuration that import reads"},
		{"prose", "x", "mtg is a proxy, don't run it\n", "a quotation mark"},
		{"other commands", "x", "cp mtg /usr/bin; systemctl stop mtg\nkillall mtproto-proxy && mv mtproto-proxy x", "no configuration that import reads"},
		{"mtg, no secret", "x", "mtg run -b :443", "no secret in the command line"},
		{"bytes", "x", "\xff\xfe", "not a text file"},
		{"bad TOML", "c.toml", "secret = \"" + eeA + "\"\nx = [", "line 2"},
		{"other TOML", "c.toml", "a = 1", "no configuration that import reads"},
		{"mtg, half a secret", "c.toml", "secret = \"ee0123\"", "in no form"},
		{"mtg, a name that is none", "c.toml", "secret = \"ee" + hexA + "2f2e2e2f\"", "not a host name"},
		{"mtg, a secret for a name", "c.toml", "secret = \"ee" + hexA + hexB + "\"", "mtg: the server name in the secret is not a host name"},
		{"mtg, a number for a secret", "c.toml", "secret = 5", "line 1"},
		{"mtg, a file of settings", "x", "ExecStart=/usr/bin/mtg run /etc/mtg.toml", "import that file"},
		{"telemt, no user", "t.toml", "[access.users]", "no user in it"},
		{"telemt, a bad secret", "t.toml", "[access.users]\nalice = \"0123\"", "secret of alice"},
		{"telemt, a bad date", "t.toml", "[access]\nusers = {a = \"" + hexA + "\"}\nuser_expirations = {a = \"soon\"}", "user_expirations of a"},
		{"MTProxy, a variable", "x", "mtproto-proxy -S $SECRET", "variable"},
		{"MTProxy, a file", "x", "mtproto-proxy --mtproto-secret-file f", "file of their own"},
		{"MTProxy, none", "x", "mtproto-proxy -H 443", "no -S"},
		{"MTProxy, a port that is a variable", "x", "mtproto-proxy -H $PORT -S " + hexA, "port is a variable"},
		{"mtg, a port that is a variable", "x", "mtg run -b 0.0.0.0:$PORT " + eeA, "port is a variable"},
		{"MTProxy, in a container without a secret", "x", "docker run -p 443:443 telegrammessenger/proxy", "docker logs"},
		{"MTProxy, in a container with a secret that is exported", "x", "docker run -e SECRET telegrammessenger/proxy", "the secret is a variable"},
		{"MTProxy, in a container with a file of variables", "x", "docker run --env-file=x telegrammessenger/proxy", "a file of variables"},
		{"MTProxy, a compose file with its secret", "x.yml", "image: telegrammessenger/proxy\nenvironment:\n  SECRET: " + hexA, "of a compose file"},
		{"MTProxy, an image that is fetched", "x", "docker pull telegrammessenger/proxy", "no configuration that import reads"},
		{"telemt, a user and a secret in each other's places", "t.toml", "[access.users]\n" + hexA + " = \"alice\"", "a secret for a name"},
		{"telemt, a secret twice", "t.toml", "[access.users]\n" + hexA + " = \"" + hexA + "\"", "a secret for a name"},
		{"telemt, another kind", "t.toml", "[access]\nusers = \"" + hexA + "\"", "line 2, column 9: access.users is, or holds, a value of another kind than it should"},
		{"telemt, another kind in a table", "t.toml", "[access.users]\n" + hexA + " = 5", "access.users is, or holds"},
		{"a compose file", "x.yml", "image: nineseconds/mtg:2\nports:", "write the command line alone"},
		{"MTProxy, a placeholder", "x", "mtproto-proxy -S SECRET", "in no form"},
		{"a quotation mark", "x", "\n\nmtproto-proxy -S 'x", "line 3: a quotation mark"},
		{"Python, computed", "x", "USERS = dict(tg=1)", "not a plain dictionary"},
		{"Python, added to", "x", "USERS = {}\nUSERS['a'] = 'b'", "line 2: USERS stands in"},
		{"Python, no end", "x", "USERS = {'a': 'b'", "bracket"},
		{"Python, a string without end", "x", "USERS = {'a': 'b\n}", "string does not end"},
		{"Python, a day behind the last", "x", "USERS = {'a': '" + hexA + "'}\nUSER_EXPIRATIONS = {'a': '31/2/2030'}", "USER_EXPIRATIONS of a"},
		{"Python, added to with a condition", "x", "USERS: dict = {}\nUSERS |= {'a': 'b'}", "line 2: USERS stands in"},
		{"Python, on one line", "x", "USERS = {'a': '" + hexA + "'}; TLS_DOMAIN='foo.com'", "line 1: TLS_DOMAIN stands in"},
		{"Python, with a condition", "x", "USERS = {'a': '" + hexA + "'}\nif True:\n    USERS['b'] = 'c'", "line 3: USERS stands in"},
		{"Python, a domain with a condition", "x", "USERS = {'a': '" + hexA + "'}\nif True: TLS_DOMAIN = 'foo.com'", "line 2: TLS_DOMAIN stands in"},
		{"Python, otherwise", "x", "USERS = {'a': '" + hexA + "'}\nif True: pass\nelse: PORT = 1", "line 3: PORT stands in"},
		{"Python, in a loop", "x", "USERS = {'a': '" + hexA + "'}\nfor i in x: USERS[i]='b'", "line 2: USERS stands in"},
		{"Python, two at once", "x", "USERS = {'a': '" + hexA + "'}\nPORT, B = 443, 3", "line 2: PORT stands in"},
		{"Python, under another name", "x", "USERS = {'a': '" + hexA + "'}\nU = [\n USERS]\nU[0]['b'] = 'c'", "line 2: USERS stands in"},
		{"Python, a mode", "x", "USERS = {'a': '" + hexA + "'}\nMODES = {}\nMODES['secure'] = True", "line 3: MODES stands in"},
		{"Python, modes", "x", "USERS = {'a': '" + hexA + "'}\nMODES.update(secure=True)", "line 2: MODES stands in"},
		{"Python, a computed mode", "x", "USERS = {'a': '" + hexA + "'}\nMODES = {'tls': x}", "MODES has a value"},
		{"Python, a computed limit", "x", "USERS = {'a': '" + hexA + "'}\nUSER_MAX_TCP_CONNS = {'a': 2*3}", "USER_MAX_TCP_CONNS has a value"},
		{"Python, of another file", "x", "USERS = {'a': '" + hexA + "'}\nfrom x import *", "line 2: import * stands in"},
		{"Python, deep", "x", "USERS = " + strings.Repeat("[", 100), "too much"},
		{"Python, a computed port", "x", "USERS = {'a': '" + hexA + "'}\nPORT = int(x)", "PORT is not"},
		{"Python, a computed name", "x", "USERS = {'a': '" + hexA + "'}\nTLS_DOMAIN = x", "TLS_DOMAIN is not"},
		{"Python, a bad day", "x", "USERS = {'a': '" + hexA + "'}\nUSER_EXPIRATIONS = {'a': '2030-01-01'}", "USER_EXPIRATIONS of a"},
	} {
		f, err := parseForeign(tt.file, []byte(tt.text))
		if err == nil {
			t.Errorf("%s: got %s, want an error with %q", tt.name, f.summary(), tt.want)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %q, want %q in it", tt.name, err, tt.want)
		}
		if strings.Contains(err.Error(), "struct") {
			t.Errorf("%s: got Go's types in %q, want none", tt.name, err)
		}
		for _, secret := range []string{hexA[:12], hexB[:12]} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: got a secret in %q, want none", tt.name, err)
			}
		}
	}
}

func TestUserName(t *testing.T) {
	for in, want := range map[string]string{
		"alice": "alice", "Bob Smith": "Bob-Smith", "../../etc": "etc", "-x-": "x", "x-": "x-", "": "user", "Ж": "user", "a\x00b": "a-b",
		"user@example.org": "user-example.org", strings.Repeat("a", 70): strings.Repeat("a", 64),
	} {
		if got := userName(in); got != want {
			t.Errorf("name for %q: got %q, want %q", in, got, want)
		}
	}
}

func TestExpiredAreLeftOut(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	f := &foreign{Users: []foreignUser{{Name: "a", Expires: now}, {Name: "b"}, {Name: "c", Expires: now.Add(time.Second)}}}
	f.expired(now)
	if got := fmt.Sprint(f.Users); got != "[user b user c]" || len(f.Lost) != 1 {
		t.Errorf("users: got %s and %q, want b and c, and one thing lost", got, f.Lost)
	}
}

// seeds are the samples of the other tests.
var seeds = []string{
	"secret = \"" + eeA + "\"\nbind-to = \"0.0.0.0:3128\"\n[network]\nproxies = [\"\"]",
	"[general.modes]\ntls = true\n[access.users]\na = \"" + hexA + "\"\n[access.user_expirations]\na = 2077-01-02",
	"[Service]\nExecStart=/opt/mtproto-proxy -H 443 \\\n -S " + hexA + " -P " + hexB + " -D www.example.com",
	"docker run -p 443:3128 nineseconds/mtg:2 simple-run 0.0.0.0:3128 '" + eeA + "'",
	"PORT = 443\nUSERS = {\n 'tg': \"" + hexA + "\", # x\n}\nMODES = {'classic': False}\nX = f(1, [2])\nAD_TAG = '''a\nb'''\n",
	"USERS = {r'\\x': u\"\\x41\\n\" 'b', -0x1_0: (1,), 'z': {1, None}}\n",
}

// fuzzed checks what every parser promises of what it accepts.
func fuzzed(t *testing.T, f *foreign, err error) {
	if err != nil {
		for _, secret := range []string{hexA, hexB} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("got a secret in the error %q, want none", err)
			}
		}
		return
	}
	for _, u := range f.Users {
		if got := userName(u.Name); got != u.Name {
			t.Errorf("name: got %q, want it usable", u.Name)
		}
	}
}

func FuzzForeign(f *testing.F) {
	for _, s := range seeds {
		f.Add("x.toml", s)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		out, err := parseForeign(name, []byte(text))
		fuzzed(t, out, err)
		if err == nil && (len(out.Users) == 0 || len(out.kinds()) == 0) {
			t.Errorf("got %d users and kinds %v, want some of both", len(out.Users), out.kinds())
		}
	})
}

func FuzzForeignTOML(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := parseMTG([]byte(text))
		fuzzed(t, out, err)
		out, err = parseTelemt([]byte(text))
		fuzzed(t, out, err)
	})
}

func FuzzForeignCommands(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := parseCommands(text)
		fuzzed(t, out, err)
	})
}

func FuzzForeignPython(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := parsePython(text)
		fuzzed(t, out, err)
	})
}
