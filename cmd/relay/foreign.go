package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"relay/auth"
	"relay/relay/mtproto"
	"relay/transport"
)

// foreign is what the configuration of another proxy for Telegram says.
type foreign struct {
	File    string
	Program string
	Users   []foreignUser
	Bare    bool     // its links may have the bare secret, without dd before it
	Ports   []uint16 // that its links name
	IPv6    bool     // it listens on IPv6 addresses
	Public  []string // hosts that its links name, where it knows them
	Lost    []string // what cannot be carried over, and what to do

	made error // a container has made its secret itself, so that it is not in the file
}

// foreignUser is somebody with a secret. It is never printed.
type foreignUser struct {
	There    string // its name for the user; empty: it has none
	Name     string // a name of ours made of it
	Key      [mtproto.SecretSize]byte
	Kinds    []mtproto.Kind // that the links may have
	Server   string         // the name in ee links; empty: there are none
	Expires  time.Time
	MaxConns int
	MaxIPs   int
	Disabled bool
}

// Format writes the name and nothing else.
func (u foreignUser) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "user "+u.Name) }

const (
	// maxForeign bounds a file: it holds far more users than can be imported.
	maxForeign = 8 << 20
	// maxForeignUsers bounds what one import makes.
	maxForeignUsers = 20000
)

// The programs that are understood.
const (
	programMTG     = "mtg"
	programTelemt  = "telemt"
	programMTProxy = "MTProxy"
	programPython  = "mtprotoproxy"
)

var errForeign = errors.New("this is no configuration that import reads: mtg (TOML, or a file with its command line), " +
	"telemt (TOML), MTProxy (a file with its command line, its systemd unit, or docker run -e SECRET=… with Telegram's image), mtprotoproxy (config.py); of a compose file " +
	"or a program, write the command line alone into a file")

// readForeign reads a file in whichever form it is.
func readForeign(path string) (*foreign, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxForeign+1))
	if err != nil {
		return nil, err
	}
	b, more, err := withIncludes(path, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out, err := parseForeign(filepath.Base(path), b)
	if err != nil && more {
		err = fmt.Errorf("with the files that it includes in their places: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out.File = path
	return out, nil
}

// parseForeign tells the form from the text, and from the file's name where the
// text is in none.
func parseForeign(name string, b []byte) (*foreign, error) {
	if len(b) > maxForeign {
		return nil, fmt.Errorf("more than %d MiB", maxForeign>>20)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // editors of other systems begin files so
	if !utf8.Valid(b) {
		return nil, errors.New("not a text file in UTF-8")
	}
	var f *foreign
	raw, err := tomlTable(b)
	switch {
	case err == nil && raw["access"] != nil:
		f, err = parseTelemt(b)
	case err == nil && raw["secret"] != nil:
		f, err = parseMTG(b)
	case assignsUsers(string(b)):
		f, err = parsePython(string(b))
	case strings.HasSuffix(name, ".toml") && err != nil:
		return nil, err
	default:
		f, err = parseCommands(string(b))
	}
	if err != nil {
		return nil, err
	}
	return f, f.check()
}

// check looks for what could not be imported.
func (f *foreign) check() error {
	if len(f.Users) == 0 {
		return errors.New("no user in it")
	}
	if len(f.Users) > maxForeignUsers {
		return fmt.Errorf("%d users; at most %d at once", len(f.Users), maxForeignUsers)
	}
	for i := range f.Users {
		u := &f.Users[i]
		if u.Server == "" {
			continue
		}
		to, err := transport.NameTarget(u.Server, 443)
		if err != nil || !to.IsName() {
			shown := " " + strconv.Quote(u.Server)
			if printable(u.Server) != u.Server { // perhaps the bytes of another secret
				shown = ""
			}
			return fmt.Errorf("%s: the server name%s in the secret is not a host name", u.Name, shown)
		}
		if to.Name() != strings.ToLower(u.Server) {
			f.lose("links that say %q: clients send the name as it is written there, and this relay knows it as %s; give out new links", u.Server, to.Name())
		}
		u.Server = to.Name()
	}
	slices.Sort(f.Ports)
	f.Ports = slices.Compact(f.Ports)
	return nil
}

func (f *foreign) lose(format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	if !slices.Contains(f.Lost, text) {
		f.Lost = append(f.Lost, text)
	}
}

// printable is a text of somebody's file for a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// loseTag tells about the advertisement of a sponsored channel.
func (f *foreign) loseTag() {
	f.lose("the sponsored channel (ad tag): it needs Telegram's middle proxy, which learns every client's address; this relay " +
		"connects to Telegram directly. Tell @MTProxybot that the proxy has ended, and users are shown no channel")
}

func (f *foreign) loseSOCKS5() {
	f.lose("the SOCKS5 proxy that it reaches Telegram through: this relay connects directly")
}

// kinds are those of all users' links, each once.
func (f *foreign) kinds() []mtproto.Kind {
	var out []mtproto.Kind
	for _, u := range f.Users {
		out = appendNew(out, u.Kinds...)
	}
	return out
}

// appendNew appends what is not there yet.
func appendNew[T comparable](to []T, more ...T) []T {
	for _, v := range more {
		if !slices.Contains(to, v) {
			to = append(to, v)
		}
	}
	return to
}

// addListener adds the port of "host:port", and whether it is one of IPv6.
func (f *foreign) addListener(address string) {
	if host, port, err := net.SplitHostPort(address); err == nil {
		ip, err := netip.ParseAddr(host)
		f.IPv6 = f.IPv6 || err == nil && ip.Is6()
		f.addPort(port)
	}
}

// addPort adds a port; it is left out if it is none.
func (f *foreign) addPort(text string) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
		f.Ports = append(f.Ports, uint16(n))
	}
}

// addPublic adds a host of links, where clients can know it.
func (f *foreign) addPublic(host string) {
	ip, err := netip.ParseAddr(host)
	if err == nil {
		host = ip.Unmap().WithZone("").String()
	} else if to, err := transport.NameTarget(host, 443); host != "" && (err != nil || !to.IsName()) {
		f.lose("the server %q of its links, which is no host", host)
		return
	}
	if host != "" && (err != nil || !ip.IsUnspecified()) {
		f.Public = appendNew(f.Public, host)
	}
}

// addSecret adds a user by a secret in any of its forms.
func (f *foreign) addSecret(name, text string) error {
	kind, key, server, err := mtproto.ParseSecret(text)
	if err != nil {
		return errSecretForm
	}
	f.Users = append(f.Users, foreignUser{Name: name, Key: key, Kinds: []mtproto.Kind{kind}, Server: server})
	return nil
}

// errSecretForm says nothing about the text: it may be half a secret.
var errSecretForm = errors.New("the secret is in no form that Telegram's clients read: 32 hexadecimal digits, or dd or ee before them")

// userName makes a name of ours of another program's.
func userName(name string) string {
	if auth.CheckName(name) == nil {
		return name
	}
	var b strings.Builder
	for _, c := range name {
		switch {
		case c < 128 && auth.CheckName("a"+string(c)) == nil:
			b.WriteRune(c)
		default:
			b.WriteByte('-')
		}
	}
	out := strings.Trim(b.String(), "._-")
	if out = out[:min(len(out), 64)]; out == "" {
		return "user"
	}
	return out
}

// expired leaves out users whose time is over.
func (f *foreign) expired(now time.Time) {
	f.Users = slices.DeleteFunc(f.Users, func(u foreignUser) bool {
		over := !u.Expires.IsZero() && !u.Expires.After(now)
		if over {
			f.lose("%s, who expired on %s, is left out", u.Name, u.Expires.Format(time.DateOnly))
		}
		return over
	})
}
