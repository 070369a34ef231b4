package vless

import (
	"errors"
	"net/url"
	"strings"
)

// errOther are links that are none of VLESS, by the scheme: people have several, and copy
// the wrong one.
var errOther = map[string]error{
	"tg":        errTelegram,
	"socks":     errProgram,
	"socks4":    errProgram,
	"socks5":    errProgram,
	"vmess":     errProtocol,
	"trojan":    errProtocol,
	"ss":        errProtocol,
	"hysteria":  errProtocol,
	"hysteria2": errProtocol,
	"hy2":       errProtocol,
	"tuic":      errProtocol,
}

var (
	errTelegram = errors.New("vless link: this is a link for Telegram: open it there; here goes the one that begins with vless://")
	errSignal   = errors.New("vless link: this is a link for Signal: open it there; here goes the one that begins with vless://")
	errProgram  = errors.New("vless link: this is a proxy's address for a program's own settings; here goes the link that begins with vless://")
	errProtocol = errors.New("vless link: this is another protocol's: ask for a link that begins with vless://")
	errPage     = errors.New("vless link: this is a web page's address: copy the link that begins with vless:// from it")
)

// other says what a text is that is no link of VLESS, as far as that can be told.
func other(scheme, rest string) error {
	scheme = strings.ToLower(scheme)
	if err := errOther[scheme]; err != nil {
		return err
	}
	if scheme != "http" && scheme != "https" {
		return errLinkForm
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		return errLinkForm
	}
	switch strings.ToLower(u.Hostname()) {
	case "t.me", "telegram.me":
		return errTelegram
	case "signal.tube":
		return errSignal
	}
	return errPage
}
