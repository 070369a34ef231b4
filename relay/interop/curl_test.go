package interop

import (
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// curlMode is a way in which curl can use a proxy.
type curlMode struct {
	name     string
	protocol string // word of the ready line
	scheme   string // for curl: socks5 sends addresses, socks5h names
	args     []string
}

var (
	curlSOCKS5   = curlMode{name: "socks5", protocol: "socks5", scheme: "socks5"}
	curlSOCKS5h  = curlMode{name: "socks5h", protocol: "socks5", scheme: "socks5h"}
	curlConnect  = curlMode{name: "CONNECT", protocol: "http", scheme: "http", args: []string{"--proxytunnel"}}
	curlAbsolute = curlMode{name: "absolute-form", protocol: "http", scheme: "http"}
	curlModes    = []curlMode{curlSOCKS5, curlSOCKS5h, curlConnect, curlAbsolute}
)

// via is curl's arguments for the relay at u.
func (m curlMode) via(u *url.URL) []string {
	at := *u
	at.Scheme = m.scheme
	return append([]string{"-q", "-sS", "--noproxy", "", "-x", at.String()}, m.args...)
}

// curlResult is what curl says about a transfer: the words of its --write-out.
type curlResult struct {
	ExitCode    int    `json:"exitcode"`
	ErrorMsg    string `json:"errormsg"`
	HTTPCode    int    `json:"http_code"`
	HTTPConnect int    `json:"http_connect"`
	HTTPVersion string `json:"http_version"`
	Body        string `json:"-"`
}

func curl(t *testing.T, stdin io.Reader, args ...string) curlResult {
	t.Helper()
	body := filepath.Join(t.TempDir(), "body")
	run := runProgram(t, time.Minute, stdin, "curl", append(args, "-o", body, "-w", "%{json}")...)
	var res curlResult
	if err := json.Unmarshal([]byte(run.stdout), &res); err != nil {
		t.Fatalf("curl: got %q and %q, want its JSON: %v", run.stdout, run.stderr, err)
	}
	if b, err := os.ReadFile(body); err == nil {
		res.Body = string(b)
	}
	return res
}

// check wants a transfer that went well with the given body.
func (r curlResult) check(t *testing.T, body string) {
	t.Helper()
	if r.ExitCode != 0 || r.HTTPCode != 200 || r.Body != body {
		t.Errorf("got exit %d (%s), status %d, %q; want exit 0, status 200, %q", r.ExitCode, r.ErrorMsg, r.HTTPCode, r.Body, body)
	}
}

func TestCurlFetch(t *testing.T) {
	integration(t)
	o, secure := startOrigin(t, false), startOrigin(t, true)
	open := anonymous(t)
	closed := quickstart(t, "--egress-allow", "127.0.0.0/8")
	for _, mode := range curlModes {
		t.Run(mode.name, func(t *testing.T) {
			t.Run("anonymous", func(t *testing.T) {
				curl(t, nil, append(mode.via(open.proxy(mode.protocol)), o.URL+"/hello")...).check(t, greeting)
			})
			t.Run("password", func(t *testing.T) {
				curl(t, nil, append(mode.via(closed.proxy(mode.protocol)), o.URL+"/hello")...).check(t, greeting)
			})
			t.Run("tls", func(t *testing.T) { // curl tunnels https, also in absolute-form mode
				res := curl(t, nil, append(mode.via(closed.proxy(mode.protocol)), "-k", secure.URL+"/hello")...)
				res.check(t, greeting)
				if res.HTTPVersion != "2" {
					t.Errorf("got HTTP/%s, want HTTP/2 agreed end to end", res.HTTPVersion)
				}
			})
			if mode.protocol == "http" {
				t.Run("challenge first", func(t *testing.T) { // needs a 407 that names Basic
					args := append(mode.via(closed.proxy("http")), "--proxy-anyauth", o.URL+"/hello")
					curl(t, nil, args...).check(t, greeting)
				})
			}
		})
	}
	if socks, http := closed.proxy("socks5").User.String(), closed.proxy("http").User.String(); socks == http || socks == "" {
		t.Errorf("ready lines: got %q for socks5 and %q for http, want a password of each", socks, http)
	}
}

// TestCurlName proves that the relay resolves names, with the DNS server it was
// given and no other.
func TestCurlName(t *testing.T) {
	integration(t)
	for _, mode := range []curlMode{curlSOCKS5h, curlConnect, curlAbsolute} {
		t.Run(mode.name, func(t *testing.T) {
			o, dns := startOrigin(t, false), startDNS(t)
			r := serve(t, t.TempDir(), true, dns, "")
			host := knownName + ":" + strings.TrimPrefix(o.addr, "127.0.0.1:")
			curl(t, nil, append(mode.via(r.proxy(mode.protocol)), "http://"+host+"/hello")...).check(t, greeting)
			if got := o.requested(); !slices.Equal(got, []string{host}) {
				t.Errorf("Host at the origin: got %q, want %q", got, host)
			}
			if got := dns.names(); !slices.Equal(got, []string{knownName}) {
				t.Errorf("names asked for: got %q, want only %q", got, knownName)
			}
			if strings.Contains(r.stderr.String(), knownName) {
				t.Errorf("log: got the target %s in it, want no target at the default level", knownName)
			}
		})
	}
}

func TestCurlRefused(t *testing.T) {
	integration(t)
	o, dns := startOrigin(t, false), startDNS(t)
	guarded := quickstart(t, "--anonymous")
	open := serve(t, t.TempDir(), true, dns, "")
	nowhere := "http://" + closedPort(t) + "/hello"
	for _, c := range []struct {
		name   string
		relay  *relay
		mode   curlMode
		target string
		want   string // in curl's error message, for SOCKS5 (RFC 1928, Section 6)
		status []int  // for HTTP
	}{
		{"egress", guarded, curlSOCKS5, o.URL + "/hello", "(2)", nil},
		{"egress", guarded, curlConnect, o.URL + "/hello", "", []int{403}},
		{"egress", guarded, curlAbsolute, o.URL + "/hello", "", []int{403}},
		{"closed port", open, curlSOCKS5, nowhere, "(5)", nil},
		{"closed port", open, curlConnect, nowhere, "", []int{502}},
		{"closed port", open, curlAbsolute, nowhere, "", []int{502}},
		{"unknown name", open, curlSOCKS5h, "http://" + unknownName + "/", "(4)", nil},
		{"unknown name", open, curlConnect, "http://" + unknownName + "/", "", []int{502, 504}},
		{"unknown name", open, curlAbsolute, "http://" + unknownName + "/", "", []int{502, 504}},
	} {
		t.Run(c.name+" "+c.mode.name, func(t *testing.T) {
			res := curl(t, nil, append(c.mode.via(c.relay.proxy(c.mode.protocol)), c.target)...)
			switch c.mode.name {
			case "CONNECT":
				if res.ExitCode != 56 || !slices.Contains(c.status, res.HTTPConnect) {
					t.Errorf("got exit %d (%s), status %d; want exit 56, status %v", res.ExitCode, res.ErrorMsg, res.HTTPConnect, c.status)
				}
			case "absolute-form":
				if res.ExitCode != 0 || !slices.Contains(c.status, res.HTTPCode) {
					t.Errorf("got exit %d (%s), status %d; want exit 0, status %v", res.ExitCode, res.ErrorMsg, res.HTTPCode, c.status)
				}
			default:
				if res.ExitCode != 97 || !strings.Contains(res.ErrorMsg, c.want) {
					t.Errorf("got exit %d (%s); want exit 97, reply %s", res.ExitCode, res.ErrorMsg, c.want)
				}
			}
		})
	}
	if got := o.requested(); len(got) != 0 {
		t.Errorf("requests at the refused origin: got %d, want 0", len(got))
	}
}

// TestCurlWrongPassword gives each case a relay of its own, because the relay
// answers later with every wrong attempt from an address.
func TestCurlWrongPassword(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, c := range []struct {
		name string
		user func(r *relay, protocol string) *url.Userinfo
	}{
		{"wrong", func(r *relay, protocol string) *url.Userinfo {
			return url.UserPassword(r.proxy(protocol).User.Username(), "wrong")
		}},
		{"unknown user", func(*relay, string) *url.Userinfo { return url.UserPassword("mallory", "wrong") }},
		{"none", func(*relay, string) *url.Userinfo { return nil }},
		{"of the other protocol", func(r *relay, protocol string) *url.Userinfo {
			return r.proxy(map[string]string{"socks5": "http", "http": "socks5"}[protocol]).User
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := startOrigin(t, false)
			r := quickstart(t, "--egress-allow", "127.0.0.0/8")
			for _, mode := range curlModes {
				t.Run(mode.name, func(t *testing.T) {
					refused(t, mode, curl(t, nil, append(mode.via(r.as(mode.protocol, c.user(r, mode.protocol))), o.URL+"/hello")...))
				})
			}
			if got := o.requested(); len(got) != 0 {
				t.Errorf("requests at the origin: got %d, want 0", len(got))
			}
		})
	}
}

// refused wants the answer to a missing or wrong password.
func refused(t *testing.T, mode curlMode, res curlResult) {
	t.Helper()
	exit, status := 97, 0 // CURLE_PROXY
	switch mode.name {
	case "CONNECT":
		exit, status = 56, 407
	case "absolute-form":
		exit, status = 0, 407
	}
	if got := max(res.HTTPConnect, res.HTTPCode); res.ExitCode != exit || got != status {
		t.Errorf("got exit %d (%s), status %d; want exit %d, status %d", res.ExitCode, res.ErrorMsg, got, exit, status)
	}
}
