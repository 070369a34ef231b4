package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// imported is a configuration as people have it, and the links that its program
// gives them, in the words of tgLink.
type imported struct {
	name, file, text string
	links            []string
}

// tgLink is "kind secret [name] host port" as a link.
func tgLink(words string) string {
	w := strings.Fields(words)
	secret := map[string]string{"ee": "ee", "dd": "dd", "simple": ""}[w[0]] + w[1]
	if w[0] == "ee" {
		secret += hex.EncodeToString([]byte(w[2]))
	}
	host := strings.ReplaceAll(w[len(w)-2], ":", "%3A")
	return fmt.Sprintf("tg://proxy?server=%s&port=%s&secret=%s", host, w[len(w)-1], secret)
}

// base64A is eeA as mtg prints it.
func base64A() string {
	b, _ := hex.DecodeString(eeA)
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestImportedLinks takes over configurations of every program into a relay that has
// nothing but the lines that import proposes.
func TestImportedLinks(t *testing.T) {
	for _, tt := range slices.Concat(mtgSamples(), telemtSamples, mtproxySamples, pythonSamples) {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file, config, state := filepath.Join(dir, tt.file), filepath.Join(dir, "relay.toml"), filepath.Join(dir, "s")
			write := func(name, text string) {
				t.Helper()
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			relay := func(want int, args ...string) string {
				t.Helper()
				var out, errs bytes.Buffer
				if got := run(args, streams{strings.NewReader(""), &out, &errs}); got != want {
					t.Fatalf("relay %v: got %d, want %d; %s%s", args, got, want, &out, &errs)
				}
				return out.String()
			}
			write(file, tt.text)
			write(config, "")
			look := relay(exitFailure, "import", "--dry-run", "--json", file, "--config", config, "--state", state)
			var plan importPlan
			if err := json.Unmarshal([]byte(look), &plan); err != nil {
				t.Fatal(err)
			}
			// The server of links is the operator's to write where the file does not say it.
			write(config, strings.ReplaceAll(plan.Lines, `# public = ["…"]`, `public = ["proxy.example.net"]`))
			relay(0, "check", config)
			relay(0, "import", file, "--config", config, "--state", state)
			var got []string
			for _, u := range plan.Users {
				show := relay(0, "user", "show", u.Name, "--config", config, "--state", state)
				got = append(got, regexp.MustCompile(`tg://proxy\S+`).FindAllString(show, -1)...)
			}
			var want []string
			for _, l := range tt.links {
				want = append(want, tgLink(l))
			}
			slices.Sort(got)
			slices.Sort(want)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("links: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if look, _, _ = strings.Cut(look, `"lines"`); strings.Contains(look, hexA[:12]) {
				t.Error("got a secret in the plan, want none")
			}
		})
	}
}

func mtgSamples() []imported {
	const www = "ee " + hexA + " www.example.com "
	return []imported{
		{"mtg, the example", "config.toml", `debug = false
secret = "` + eeA + `"
bind-to = "0.0.0.0:3128"
concurrency = 8192
tcp-buffer = "4kb"
prefer-ip = "prefer-ipv6"
cloak-port = 443
[network]
doh-ip = "9.9.9.9"
proxies = [
    # "socks5://user:password@host:port?open_threshold=5&half_open_timeout=1m&reset_failures_timeout=10s"
]
[network.public-ip]
ipv4 = ""
ipv6 = ""
[network.timeout]
tcp = "5s"
[defense.anti-replay]
enabled = true
max-size = "16mb"
error-rate = 0.0001
[stats.prometheus]
enabled = true
bind-to = "127.0.0.1:3129"
`, []string{www + "proxy.example.net 3128"}},
		{"mtg, least", "mtg.toml", "secret = \"" + base64A() + "\"\nbind-to = \"0.0.0.0:443\"\n", []string{www + "proxy.example.net 443"}},
		{"mtg, both families", "mtg.toml", "secret = \"" + eeA + "\"\nbind-to = \"[::]:443\"\npublic-ipv4 = \"9.9.9.9\"\npublic-ipv6 = \"2620:fe::9\"\n",
			[]string{www + "9.9.9.9 443", www + "2620:fe::9 443"}},
		{"mtg, public addresses", "mtg.toml", "secret = \"" + eeA + "\"\nbind-to = \"0.0.0.0:8443\"\n[network]\nproxies = [\"socks5://127.0.0.1:9050\"]\n[network.public-ip]\nipv4 = \"9.9.9.9\"\n",
			[]string{www + "9.9.9.9 8443"}},
		{"mtg, a unit", "mtg.service", "[Unit]\nDescription=mtg\n[Service]\nExecStart=/usr/local/bin/mtg simple-run -n 1.1.1.1 -t 30s -a 512kib -b 64kb 0.0.0.0:443 " + base64A() + "\nRestart=always\n",
			[]string{www + "proxy.example.net 443"}},
		{"mtg, a container", "up.sh", "docker run -d -v $PWD/config.toml:/config.toml -p 443:3128 --name mtg-proxy --restart=unless-stopped nineseconds/mtg:2 simple-run -n 1.1.1.1 -i prefer-ipv4 0.0.0.0:3128 " + eeA + "\n",
			[]string{www + "proxy.example.net 443"}},
		{"mtg 1, a container", "up.sh", "#!/bin/sh\ndocker pull nineseconds/mtg:1\ndocker run -d --restart=unless-stopped --name mtg \\\n  --ulimit nofile=51200:51200 \\\n  -p 443:3128 nineseconds/mtg:1 run " + eeA + "\n",
			[]string{www + "proxy.example.net 443"}},
		{"mtg 1, padded", "run.sh", "exec mtg run -b 0.0.0.0:8443 -4 9.9.9.9:443 --prefer-ip=ipv4 dd" + hexA + " " + hexB + "\n", []string{"dd " + hexA + " 9.9.9.9 443"}},
		{"mtg 1, simple", "run.sh", "mtg run --bind=0.0.0.0:443 " + hexA + "\n", []string{"simple " + hexA + " proxy.example.net 443"}},
	}
}

var telemtSamples = []imported{
	{"telemt, as shipped", "config.toml", `[general]
use_middle_proxy = true
log_level = "normal"
[general.modes]
classic = false
secure = false
tls = true
[general.links]
show = "*"
[server]
port = 443
[server.api]
enabled = true
listen = "127.0.0.1:9091"
whitelist = ["127.0.0.1/32", "::1/128"]
[[server.listeners]]
ip = "0.0.0.0"
[censorship]
tls_domain = "petrovich.ru"
mask = true
tls_emulation = true
tls_front_dir = "tlsfront"
[access.users]
hello = "` + hexA + `"
`, []string{"ee " + hexA + " petrovich.ru proxy.example.net 443"}},
	{"telemt, users and a host", "telemt.toml", `show_link = ["alice", "bob smith"]
[general.links]
public_host = "tg.example.org"
public_port = 8443
[server]
port = 443
[censorship]
tls_domain = "www.example.com"
[access.users]
alice = "` + hexA + `"
"bob smith" = "` + hexB + `"
`, []string{"ee " + hexA + " www.example.com tg.example.org 8443", "ee " + hexB + " www.example.com tg.example.org 8443"}},
	{"telemt, ports of listeners", "telemt.toml", `[[server.listeners]]
ip = "0.0.0.0"
port = 8443
announce = "tg.example.org"
[[server.listeners]]
ip = "127.0.0.1"
port = 8080
transport = "web"
[censorship]
tls_domain = "www.example.com"
[access.users]
alice = "` + hexA + `"
`, []string{"ee " + hexA + " www.example.com tg.example.org 8443"}},
	{"telemt, both families", "telemt.toml", `[network]
ipv6 = true
[server]
port = 443
listen_addr_ipv4 = "0.0.0.0"
listen_addr_ipv6 = "::"
[[server.listeners]]
ip = "0.0.0.0"
announce_ip = "9.9.9.9"
[[server.listeners]]
ip = "::"
announce_ip = "2620:fe::9"
[censorship]
tls_domain = "www.example.com"
[access.users]
alice = "` + hexA + `"
`, []string{"ee " + hexA + " www.example.com 9.9.9.9 443", "ee " + hexA + " www.example.com 2620:fe::9 443"}},
	{"telemt, padded alone", "telemt.toml", "[general.modes]\nclassic = false\nsecure = true\ntls = false\n[access.users]\nalice = \"" + hexA + "\"\n", []string{"dd " + hexA + " proxy.example.net 443"}},
	{"telemt, every mode", "telemt.toml", "[general.modes]\nclassic = true\nsecure = true\ntls = true\n[access.users]\nalice = \"" + hexA + "\"\n",
		[]string{"ee " + hexA + " petrovich.ru proxy.example.net 443", "dd " + hexA + " proxy.example.net 443", "simple " + hexA + " proxy.example.net 443"}},
	{"telemt, limits", "telemt.toml", `[censorship]
tls_domain = "www.example.com"
[access]
replay_check_len = 65536
ignore_time_skew = false
[access.users]
alice = "` + hexA + `"
bob = "` + hexB + `"
[access.user_max_tcp_conns]
alice = 50
[access.user_expirations]
alice = "2077-01-01T00:00:00Z"
[access.user_data_quota]
bob = 1073741824
[access.user_max_unique_ips]
bob = 3
[[upstreams]]
type = "direct"
enabled = true
weight = 10
`, []string{"ee " + hexA + " www.example.com proxy.example.net 443", "ee " + hexB + " www.example.com proxy.example.net 443"}},
	{"telemt, an address of its own", "telemt.toml", "[server]\nport = 443\n[[server.listeners]]\nip = \"9.9.9.9\"\n[access]\nusers = { alice = \"" + strings.ToUpper(hexA) + "\" }\n", []string{"ee " + hexA + " petrovich.ru 9.9.9.9 443"}},
	{"telemt, behind a balancer", "telemt.toml", "[general.links]\npublic_host = \"tg.example.org\"\npublic_port = 443\n[server]\nport = 1443\nproxy_protocol = true\nlisten_addr_ipv4 = \"127.0.0.1\"\n[access.users]\na = \"" + hexA + "\"\n", []string{"ee " + hexA + " petrovich.ru tg.example.org 443"}},
}

var mtproxySamples = []imported{
	{"MTProxy, of its README", "run.sh", "./mtproto-proxy -u nobody -p 8888 -H 443 -S " + hexA + " --aes-pwd proxy-secret proxy-multi.conf -M 1\n", []string{"dd " + hexA + " proxy.example.net 443"}},
	{"MTProxy, a unit", "MTProxy.service", `[Unit]
Description=MTProxy
After=network.target

[Service]
Type=simple
WorkingDirectory=/opt/MTProxy/objs/bin/
ExecStart=/opt/MTProxy/objs/bin/mtproto-proxy -u nobody -p 8888 -H 443 -S ` + hexA + ` -P ` + hexB + ` --aes-pwd proxy-secret proxy-multi.conf -M 1
Restart=on-failure

[Install]
WantedBy=multi-user.target
`, []string{"dd " + hexA + " proxy.example.net 443"}},
	{"MTProxy, a domain", "MTProxy.service", "[Service]\nExecStart=/opt/MTProxy/objs/bin/mtproto-proxy -u nobody -p 8888 -H 8443 \\\n  -S " + hexA + " -S " + hexB + " \\\n  -D www.example.com --aes-pwd proxy-secret proxy-multi.conf -M 0\n",
		[]string{"ee " + hexA + " www.example.com proxy.example.net 8443", "ee " + hexB + " www.example.com proxy.example.net 8443"}},
	{"MTProxy, two ports", "run.sh", "mtproto-proxy -6 -u nobody -p 8888 -H 443,8443 -S " + hexA + " --nat-info 10.0.0.5:9.9.9.9 --aes-pwd a b -M 1\n", []string{"dd " + hexA + " proxy.example.net 443", "dd " + hexA + " proxy.example.net 8443"}},
	{"MTProxy, long flags", "run.sh", "mtproto-proxy --user nobody --port 8888 --http-ports=443 --mtproto-secret=" + hexA + " --aes-pwd a b --slaves 2 --random-padding-only\n", []string{"dd " + hexA + " proxy.example.net 443"}},
	{"MTProxy, a container", "up.sh", "docker run -d -p443:443 --name=mtproto-proxy --restart=always -v proxy-config:/data -e SECRET=" + hexA + " telegrammessenger/proxy:latest\n", []string{"dd " + hexA + " proxy.example.net 443"}},
	{"MTProxy, a container with two", "up.sh", "sudo docker run -d --network host --name mtproto-proxy -e SECRET=" + hexA + "," + hexB + " -e TAG=" + hexB + " -e WORKERS=4 telegrammessenger/proxy\n",
		[]string{"dd " + hexA + " proxy.example.net 443", "dd " + hexB + " proxy.example.net 443"}},
	{"MTProxy, by cron", "crontab", "@reboot cd /opt/MTProxy && nohup ./mtproto-proxy -u nobody -p 8888 -H 443 -S " + hexA + " --aes-pwd proxy-secret proxy-multi.conf -M 1 >/dev/null 2>&1 &\n", []string{"dd " + hexA + " proxy.example.net 443"}},
	{"MTProxy, within a shell", "x.service", "[Service]\nExecStart=/bin/sh -c 'cd /opt/MTProxy && exec ./mtproto-proxy -p 8888 -H 443 -S " + hexA + " -D www.example.com --aes-pwd a b'\n", []string{"ee " + hexA + " www.example.com proxy.example.net 443"}},
}

var pythonSamples = []imported{
	{"mtprotoproxy, as shipped", "config.py", `PORT = 443

# name -> secret (32 hex chars)
USERS = {
    "tg":  "` + hexA + `",
    # "tg2": "0123456789abcdef0123456789abcdef",
}

MODES = {
    # Classic mode, easy to detect
    "classic": False,

    # Makes the proxy harder to detect
    # Can be incompatible with very old clients
    "secure": False,

    # Makes the proxy even more hard to detect
    # Can be incompatible with old clients
    "tls": True
}

# The domain for TLS mode, bad clients are proxied there
# Use random existing domain, proxy checks it on start
# TLS_DOMAIN = "www.google.com"

# Tag for advertising, obtainable from @MTProxybot
# AD_TAG = "3c09c680b76ee91a4c25ad51f742267d"
`, []string{"ee " + hexA + " www.google.com proxy.example.net 443"}},
	{"mtprotoproxy, users", "config.py", "PORT = 8443\nUSERS = {'alice': '" + hexA + "', 'bob': '" + hexB + "'}\nMODES = {'classic': False, 'secure': False, 'tls': True}\nTLS_DOMAIN = 'www.example.com'\n",
		[]string{"ee " + hexA + " www.example.com proxy.example.net 8443", "ee " + hexB + " www.example.com proxy.example.net 8443"}},
	{"mtprotoproxy, padded", "config.py", "PORT = 443\nUSERS = {\"tg\": \"" + hexA + "\"}\nMODES = {\"secure\": True}\n", []string{"dd " + hexA + " proxy.example.net 443"}},
	{"mtprotoproxy, old", "config.py", "PORT = 443\nUSERS = {\"tg\": \"" + hexA + "\"}\nSECURE_ONLY = True\n", []string{"ee " + hexA + " www.google.com proxy.example.net 443", "dd " + hexA + " proxy.example.net 443"}},
	{"mtprotoproxy, TLS alone", "config.py", "PORT = 443\nUSERS = {\"tg\": \"" + hexA + "\"}\nTLS_ONLY = True\nTLS_DOMAIN = \"www.example.com\"\n", []string{"ee " + hexA + " www.example.com proxy.example.net 443"}},
	{"mtprotoproxy, defaults", "config.py", "USERS = {\"tg\": \"" + hexA + "\"}\n",
		[]string{"ee " + hexA + " www.google.com proxy.example.net 3256", "dd " + hexA + " proxy.example.net 3256", "simple " + hexA + " proxy.example.net 3256"}},
	{"mtprotoproxy, limits", "config.py", `PORT = 443
MY_DOMAIN = "tg.example.org"
USERS = {
    "alice": "` + hexA + `",
    "bob":   "` + hexB + `",
}
TLS_ONLY = True
TLS_DOMAIN = "www.example.com"
USER_MAX_TCP_CONNS = {"alice": 16}
USER_EXPIRATIONS = {"bob": "31/12/2077"}
USER_DATA_QUOTA = {"bob": 10 * 1024**3}
`, []string{"ee " + hexA + " www.example.com tg.example.org 443", "ee " + hexB + " www.example.com tg.example.org 443"}},
	{"mtprotoproxy, IPv4 alone", "config.py", "PORT = 443\nLISTEN_ADDR_IPV6 = \"\"\nPREFER_IPV6 = False\nUSERS = {\"tg\": \"" + hexA + "\"}\nTLS_ONLY = True\nMASK_HOST = \"127.0.0.1\"\nMASK_PORT = 8443\n", []string{"ee " + hexA + " www.google.com proxy.example.net 443"}},
	{"mtprotoproxy, annotated", "config.py", "from typing import Dict\nimport os\nPORT: int = 443\nUSERS: Dict[str, str] = {\"tg\": (\n    \"" + hexA[:16] + "\"\n    \"" + hexA[16:] + "\"\n)}\nTLS_ONLY: bool = True\nSOCKS5_HOST = os.environ.get(\"SOCKS\")\n", []string{"ee " + hexA + " www.google.com proxy.example.net 443"}},
}
