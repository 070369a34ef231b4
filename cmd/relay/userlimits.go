package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"relay/relay/admin"
)

// limitFlags are the settings of a user on the command line.
type limitFlags struct {
	Expires  *string           `help:"When the user ends: 30d, 12h, 2027-01-31; \"\" for never." placeholder:"WHEN"`
	Quota    *string           `help:"Bytes of both directions in a calendar month or in rolling days: 50GiB/month, 10GiB/7d; \"\" for none." placeholder:"QUOTA"`
	MaxConns *int              `help:"Connections at once; Telegram alone opens up to 8. 0 for no limit." placeholder:"N"`
	MaxIps   *int              `help:"Addresses at once. 0 for no limit." placeholder:"N" name:"max-ips"`
	Rate     *string           `help:"Bits a second in each direction: 20Mbit; \"\" for no limit." placeholder:"RATE"`
	Password map[string]string `help:"Keep a password from elsewhere for a protocol, in place of the derived one: socks5=@FILE reads it from a file, socks5=@- from standard input. For mtproto it is the secret of a link." placeholder:"PROTOCOL=@FILE"`
}

func (f limitFlags) limits(s streams) (admin.Limits, error) {
	l := admin.Limits{Expires: f.Expires, Quota: f.Quota, MaxConns: f.MaxConns, MaxIPs: f.MaxIps, Rate: f.Rate}
	for label, v := range f.Password {
		path, ok := strings.CutPrefix(v, "@")
		if !ok {
			return l, usagef("--password %s=…: a password on the command line can be read by every user of this machine; put it into a file and write %s=@FILE", label, label)
		}
		p, err := readSecret(s, path)
		if err != nil {
			return l, err
		}
		if l.Explicit == nil {
			l.Explicit = make(map[string]string)
		}
		l.Explicit[label] = p
	}
	return l, nil
}

// readSecret reads the first line of a file, "-" being standard input.
func readSecret(s streams, path string) (string, error) {
	r := s.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("password: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}
