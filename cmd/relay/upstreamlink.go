package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"relay/relay/config"
	"relay/relay/vless"
	"relay/transport/web"
)

// mostLinkFile bounds a file with a link.
const mostLinkFile = 16 << 10

// link reads the link.
func (u *upstreamOptions) link() (*vless.Link, error) {
	text, _, err := u.text()
	if err != nil {
		return nil, err
	}
	return readLink(text)
}

// readLink reads a link, and refuses what would go in the clear: the user's secret and
// the targets.
func readLink(text web.Secret) (*vless.Link, error) {
	l, err := vless.ParseLink(string(text))
	if err == nil && !l.TLS {
		return nil, errors.New("without TLS (security=none) everybody on the way could read along: ask for a link with security=tls")
	}
	return l, err
}

// text is the link as it is written. open says that everybody on this machine can read
// the file that it is in.
func (u *upstreamOptions) text() (text web.Secret, open bool, err error) {
	if u.LinkFile == "" {
		return web.Secret(bareLink(string(u.Link))), false, nil
	}
	fi, err := os.Stat(u.LinkFile)
	if err != nil {
		return "", false, linkFileError{u.LinkFile, err}
	}
	if !fi.Mode().IsRegular() || fi.Size() > mostLinkFile { // reading another kind may wait
		return "", false, fmt.Errorf("%s: want a file of at most %d bytes with nothing but the link", u.LinkFile, mostLinkFile)
	}
	b, err := os.ReadFile(u.LinkFile)
	if err != nil {
		return "", false, linkFileError{u.LinkFile, err}
	}
	return web.Secret(bareLink(plainText(b))), forAll(fi), nil
}

// linkFileError is a file that cannot be read.
type linkFileError struct {
	file string
	err  error
}

// Error implements error.
func (e linkFileError) Error() string {
	err := e.err
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Sprintf("%s: %v", e.file, err)
}

// Unwrap returns what the system has said.
func (e linkFileError) Unwrap() error { return e.err }

// linkFileHint says what to do about a file that has no link for us.
func linkFileHint(file string, err error) string {
	if abs, aerr := filepath.Abs(file); aerr == nil {
		file = abs // a relay that is a service looks in another folder
	}
	file = shellQuote(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("put the link, as relay user show prints it on the exit, into %s, which only the relay's user can read; or name another file", file)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let the relay's user read %s, and nobody else", file)
	}
	return fmt.Sprintf("put the link, as relay user show prints it on the exit, into %s, and nothing else", file)
}

// forAll reports whether everybody on this machine can read a file.
func forAll(fi os.FileInfo) bool { return runtime.GOOS != "windows" && fi.Mode().Perm()&0o004 != 0 }

// openLink warns of a file with a link, under the key that it has in the configuration.
func openLink(key, file string) finding {
	return finding(fmt.Sprintf("[[upstream]] %s: everybody on this machine can read %s; chmod o= %[2]s", key, file))
}

// linkFindings are the files with links, the configuration among them, that everybody on
// this machine can read.
func linkFindings(file string, tabs []config.Table) []finding {
	out := openConfig(file, tabs)
	for _, o := range *optionsOf(upstreamTable, tabs).(*[]upstreamOptions) {
		if _, open, err := o.text(); err == nil && open {
			out = append(out, openLink("link_file", o.LinkFile))
		}
	}
	return out
}

// openConfig warns of a configuration with a link.
func openConfig(file string, tabs []config.Table) []finding {
	written := slices.ContainsFunc(*optionsOf(upstreamTable, tabs).(*[]upstreamOptions), func(o upstreamOptions) bool { return o.Link != "" })
	if fi, err := os.Stat(file); !written || err != nil || !forAll(fi) {
		return nil
	}
	return []finding{openLink("link", file)}
}

// webLink is what a link says about the way to its server.
func webLink(l *vless.Link) web.Link {
	out := web.Link{
		Host: l.Host, Port: l.Port, SNI: l.ServerName(), Authority: l.Header, Path: l.Path,
		Mode: l.Mode, Pins: l.Pins, ECH: l.ECH, Whole: !ofRelay(l),
	}
	// A server that was not told of early payload may drop it. One that has both
	// carriers behind one path is a relay, and takes it.
	out.Early = web.DefaultEarly
	if l.Type == vless.TypeWS {
		out.Mode, out.Early = web.ModeWebSocket, l.Early
	}
	if len(l.VerifyNames) > 0 {
		out.CertificateName = l.VerifyNames[0]
	}
	if r := l.Extra.PostBytes; r != (vless.Range{}) {
		out.PostBytes = web.Bytes{Least: r.From, Most: r.To}
	}
	if r := l.Extra.PostEvery; r != (vless.Range{}) {
		out.PostInterval = web.Interval{Least: time.Duration(r.From) * time.Millisecond, Most: time.Duration(r.To) * time.Millisecond}
	}
	return out
}

// ofRelay reports whether a link leads to a relay, as far as one can see. Only relays
// get more than one stream in a WebSocket: sing-box's servers mix up the bytes of
// several (sing-vmess v0.2.8, mux.go, WriteBuffer, which takes no lock), and Xray's
// take the end of one direction for the end of both.
func ofRelay(l *vless.Link) bool {
	if l.Type != vless.TypeWS {
		return true // no other server has both carriers at one path
	}
	return l.Early == web.DefaultEarly && drawnPath(l.Path)
}

// drawnPath reports whether a path is one as relays draw it. XHTTP over HTTP/1.1 asks, as
// Xray's servers have XHTTP too.
func drawnPath(path string) bool {
	name := strings.Trim(path, "/")
	return path == "/"+name+"/" && len(name) == passwordLength && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// passwordLength is how long the password of a user is that is not a user's own choice:
// 15 bytes in base32.
const passwordLength = 24
