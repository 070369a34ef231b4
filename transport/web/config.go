package web

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Config is the [web] table: what is known of the CDN or proxy in front of
// listeners with origin = true.
type Config struct {
	// Proxies are the addresses and ranges whose word about clients' addresses is
	// taken.
	Proxies []string `toml:"proxies"`
	// ClientHeader is the header in which they say it. Empty means
	// X-Forwarded-For.
	ClientHeader string `toml:"client_header"`
	// SecretHeader is a header that they add, with the value Secret: without it a
	// request to an origin is a stranger's.
	SecretHeader string `toml:"secret_header"`
	Secret       Secret `toml:"secret"`
	// SecretFile is the file that has it instead: see ReadSecret.
	SecretFile string `toml:"secret_file"`

	read Secret // from there
}

// Secret is a value that is not printed.
type Secret string

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value {
	if s == "" {
		return slog.StringValue("")
	}
	return slog.StringValue("[secret]")
}

// Format hides the secret from fmt.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[secret]")) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// leastSecret is how long Secret has to be.
const leastSecret = 16

const forwardedFor = "X-Forwarded-For"

// Check reports every fault; key is relative to the table.
func (c *Config) Check(fault func(key, problem, hint string)) {
	for i, s := range c.Proxies {
		if p, err := netip.ParsePrefix(s); err == nil && p == p.Masked() {
			continue
		}
		if _, err := netip.ParseAddr(s); err != nil {
			fault(fmt.Sprintf("proxies[%d]", i), fmt.Sprintf("%q is not a range of addresses", s), `write the CDN's, such as "192.0.2.0/24"`)
		}
	}
	for key, name := range map[string]string{"client_header": c.ClientHeader, "secret_header": c.SecretHeader} {
		if name != "" && !httpguts.ValidHeaderFieldName(name) {
			fault(key, fmt.Sprintf("%q is not the name of a header", name), `write it such as "`+forwardedFor+`"`)
		}
	}
	switch {
	case c.Secret != "" && c.SecretFile != "":
		fault("secret_file", "given beside secret", "write one of the two")
	case c.SecretHeader != "" && c.Secret == "" && c.SecretFile == "":
		fault("secret", "missing", "write the value that the CDN gives to "+c.SecretHeader+", or secret_file with the name of a file that has it")
	case c.Secret != "" && len(c.Secret) < leastSecret:
		// Not in UnmarshalText: config takes secrets out of what that says, and this
		// one may be a word of it.
		fault("secret", fmt.Sprintf("shorter than %d characters", leastSecret), "whoever guesses it can look for the relay; draw a longer one")
	case c.SecretHeader == "" && (c.Secret != "" || c.SecretFile != ""):
		fault("secret_header", "missing", "write the name of the header that the CDN adds")
	}
	if c.SecretFile != "" && !filepath.IsAbs(c.SecretFile) {
		fault("secret_file", fmt.Sprintf("%q is not a full path", c.SecretFile), `write it such as "/etc/relay/web.secret"`)
	}
	if c.SecretHeader != "" && strings.EqualFold(c.SecretHeader, c.clientHeader()) {
		fault("secret_header", "is also the header with the client's address", "choose another one")
	}
}

func (c *Config) clientHeader() string {
	if c.ClientHeader == "" {
		return forwardedFor
	}
	return c.ClientHeader
}

// Origin is what the table says. proxies tells the addresses of its ranges.
func (c *Config) Origin(proxies func(netip.Addr) bool) Origin {
	o := Origin{Proxies: proxies, ClientHeader: c.clientHeader(), SecretHeader: c.SecretHeader, Secret: string(c.Secret)}
	if c.SecretFile != "" {
		o.Secret = string(c.read)
	}
	return o
}

// mostSecretFile is how long SecretFile may be.
const mostSecretFile = 4 << 10

// ReadSecret reads SecretFile, if there is one. It comes before Origin, and reports
// whether everybody on this machine can read the file, too.
func (c *Config) ReadSecret() (open bool, err error) {
	if c.SecretFile == "" {
		return false, nil
	}
	fi, err := os.Stat(c.SecretFile)
	if err != nil {
		return false, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > mostSecretFile { // reading another kind may wait
		return false, fmt.Errorf("%s: want a file of at most %d bytes with nothing but the secret", c.SecretFile, mostSecretFile)
	}
	f, err := os.Open(c.SecretFile)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostSecretFile))
	if err != nil {
		return false, err
	}
	text := strings.TrimSpace(string(b))
	switch {
	case len(text) < leastSecret:
		return false, fmt.Errorf("%s: the secret is shorter than %d characters: whoever guesses it can look for the relay; draw a longer one", c.SecretFile, leastSecret)
	case !httpguts.ValidHeaderFieldValue(text):
		return false, fmt.Errorf("%s: want one line that a header can have, as the CDN sends it", c.SecretFile)
	}
	c.read = Secret(text)
	return runtime.GOOS != "windows" && fi.Mode().Perm()&0o004 != 0, nil
}
