package web

import (
	"fmt"
	"log/slog"
	"net/netip"
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
	case c.SecretHeader != "" && c.Secret == "":
		fault("secret", "missing", "write the value that the CDN gives to "+c.SecretHeader)
	case c.Secret != "" && len(c.Secret) < leastSecret:
		// Not in UnmarshalText: config takes secrets out of what that says, and this
		// one may be a word of it.
		fault("secret", fmt.Sprintf("shorter than %d characters", leastSecret), "whoever guesses it can look for the relay; draw a longer one")
	case c.SecretHeader == "" && c.Secret != "":
		fault("secret_header", "missing", "write the name of the header that the CDN adds")
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
	return Origin{Proxies: proxies, ClientHeader: c.clientHeader(), SecretHeader: c.SecretHeader, Secret: string(c.Secret)}
}
