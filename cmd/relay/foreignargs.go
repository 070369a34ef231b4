package main

import (
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"relay/relay/mtproto"
)

// parseCommands reads the command lines of MTProxy and mtg in a text: a script,
// a note, a systemd unit, a docker command.
func parseCommands(text string) (*foreign, error) {
	f := &foreign{}
	for n, line := range logicalLines(text) {
		if !strings.Contains(line, "mtproto-proxy") && !strings.Contains(line, "mtg") {
			continue // in whatever language
		}
		commands, err := shellWords(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, words := range commands {
			if err := f.readCommand(words); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	if f.Program == "" {
		return nil, errForeign
	}
	return f, nil
}

// readCommand reads a command that starts one of the programs, and passes over
// others: those that copy, stop or mention it. The last word that is a program
// counts: a container may have its name before.
func (f *foreign) readCommand(words []string) error {
	for i := len(words) - 2; i >= 0; i-- {
		args := words[i+1:]
		switch program(words[i]) {
		case "mtproto-proxy":
			if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }) {
				f.Program = programMTProxy
				return f.readMTProxy(words[:i], args)
			}
		case "mtg":
			if _, _, _, err := mtproto.ParseSecret(args[0]); err == nil || args[0] == "run" || args[0] == "simple-run" {
				f.Program = programMTG
				return f.readMTG(words[:i], args)
			}
		}
	}
	return nil
}

// program is the name of a program in a word: a path, or an image with a tag.
func program(word string) string {
	name, _, _ := strings.Cut(path.Base(word), ":")
	return name
}

// logicalLines yields lines with those that follow a backslash, a line end in its
// place, by the number of the first. Lines that are comments are left out, and
// systemd's "ExecStart=".
func logicalLines(text string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		var whole strings.Builder
		first := 1
		for i, line := range strings.Split(text, "\n") {
			line = strings.TrimSpace(line)
			if whole.Len() == 0 {
				first = i + 1
			}
			// systemd passes over comments between lines that belong together.
			if whole.Len() == 0 || strings.HasPrefix(whole.String(), "ExecStart=") {
				if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
					continue
				}
			}
			head, more := strings.CutSuffix(line, `\`)
			whole.WriteString(head + "\n")
			if more {
				continue
			}
			if !yield(first, execStart(whole.String())) {
				return
			}
			whole.Reset()
		}
		if whole.Len() > 0 {
			yield(first, execStart(whole.String()))
		}
	}
}

// execStart removes what systemd.service(5) allows before a command.
func execStart(line string) string {
	if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart="); ok {
		return strings.TrimLeft(rest, "-@+!:")
	}
	return line
}

var errQuote = errors.New("a quotation mark has no other")

// shellWords splits what logicalLines yields into commands and these into words,
// as a shell does. Nothing is expanded. A comment ends with its line, whatever
// stands at its end, and the command with it.
func shellWords(line string) ([][]string, error) {
	var commands [][]string
	var words []string
	var w strings.Builder
	var quote byte
	in := false
	end := func() {
		if in {
			words = append(words, w.String())
			w.Reset()
			in = false
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			w.WriteByte(line[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote == 0 && !in && c == '#':
			if n := strings.IndexByte(line[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(line)
			}
			commands, words = append(commands, words), nil
		case quote == 0 && strings.IndexByte(" \t\r\n<>", c) >= 0:
			end()
		case quote == 0 && strings.IndexByte(";|&()", c) >= 0:
			end()
			commands, words = append(commands, words), nil
		default:
			w.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	end()
	return append(commands, words), nil
}

// flags walks over arguments: value is called for every flag with what follows
// it, "-S x", "-Sx", "--name x" or "--name=x", and says whether it took it;
// plain is called for the others.
func flags(args []string, value func(flag, v string) (bool, error), plain func(string) error) error {
	for i := 0; i < len(args); i++ {
		a, next := args[i], ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		if !strings.HasPrefix(a, "-") {
			if err := plain(a); err != nil {
				return err
			}
			continue
		}
		name, v, attached := strings.Cut(a, "=")
		if !attached && !strings.HasPrefix(a, "--") && len(a) > 2 {
			name, v, attached = a[:2], a[2:], true
		}
		if !attached {
			v = next
		}
		took, err := value(name, v)
		if err != nil {
			return err
		}
		if took && !attached {
			i++
		}
	}
	return nil
}

var errVariable = errors.New("the secret is a variable: write its value in the place of it, in a copy of the file")

// readMTProxy reads the arguments of Telegram's own proxy (its mtproto-proxy.c).
func (f *foreign) readMTProxy(before, args []string) error {
	var secrets, domains, ports []string
	bare := true
	err := flags(args, func(flag, v string) (bool, error) {
		switch flag {
		case "-S", "--mtproto-secret":
			secrets = append(secrets, v)
		case "-D", "--domain":
			domains = append(domains, v)
		case "-H", "--http-ports":
			ports = append(ports, strings.Split(v, ",")...)
		case "-P", "--proxy-tag":
			f.loseTag()
		case "-R", "--random-padding-only":
			bare = false
			return false, nil
		case "-6":
			f.IPv6 = true
			return false, nil
		case "--mtproto-secret-file":
			return false, errors.New("the secrets are in a file of their own: write them as -S SECRET, in a copy of the line")
		case "-p", "--port", "-u", "--user", "-M", "--slaves", "--aes-pwd", "--nat-info", "-C", "-c", "-W", "-b", "-l", "-T":
		default:
			return false, nil
		}
		return true, nil
	}, func(string) error { return nil })
	if err != nil {
		return err
	}
	f.Bare = f.Bare || bare && len(domains) == 0
	if len(secrets) == 0 {
		return errors.New("no -S SECRET in the command line")
	}
	if len(domains) > 1 {
		f.lose("links with a further name (-D %s): a user has one name here, %s; give out new links", strings.Join(domains[1:], " -D "), domains[0])
	}
	for _, s := range secrets {
		if err := f.addMTProxySecret(s, domains); err != nil {
			return err
		}
	}
	for _, p := range ports {
		f.addPort(published(before, p))
	}
	return nil
}

func (f *foreign) addMTProxySecret(s string, domains []string) error {
	if strings.HasPrefix(s, "$") {
		return errVariable
	}
	kind, key, server, err := mtproto.ParseSecret(s)
	if err != nil {
		return errSecretForm
	}
	switch {
	case server != "": // links of other programs, written here
	case len(domains) > 0:
		kind, server = mtproto.KindFakeTLS, domains[0]
	default:
		kind = mtproto.KindPadded
	}
	f.Users = append(f.Users, foreignUser{Name: "mtproxy", Key: key, Kinds: []mtproto.Kind{kind}, Server: server})
	return nil
}

// readMTG reads the arguments of mtg: "run SECRET [TAG]" of version 1, and
// "simple-run ADDRESS SECRET" of version 2.
func (f *foreign) readMTG(before, args []string) error {
	var bind string
	found, tagged := false, false
	secret := func(v string) error {
		if strings.HasPrefix(v, "$") {
			return errVariable
		}
		if err := f.addSecret("mtg", v); err != nil {
			return err
		}
		found = true
		return nil
	}
	err := flags(args, func(flag, v string) (bool, error) {
		switch flag {
		case "-b", "--bind", "--bind-to":
			bind = v
		case "-s", "--secret":
			return true, secret(v)
		case "-4", "--public-ipv4", "-6", "--public-ipv6":
			host, _, _ := strings.Cut(v, ":")
			if strings.HasSuffix(flag, "6") || host == "" {
				return true, nil
			}
			f.addPublic(host)
		case "-t", "--stats-bind", "-n", "--doh-ip", "-i", "--prefer-ip", "-c", "--concurrency", "-a", "--antireplay-cache-size",
			"-p", "--domain-fronting-port", "--cloak-port", "-w", "-r", "--write-buffer", "--read-buffer":
		default:
			return false, nil
		}
		return true, nil
	}, func(word string) error {
		_, _, _, bad := mtproto.ParseSecret(word)
		switch {
		case found && bad == nil:
			tagged = true
		case !found && (bad == nil || strings.HasPrefix(word, "$")):
			return secret(word)
		case bind == "" && strings.Contains(word, ":"):
			bind = word
		case strings.HasSuffix(word, ".toml"):
			return fmt.Errorf("the settings are in %s: import that file", word)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !found {
		return errors.New("no secret in the command line")
	}
	if tagged {
		f.loseTag()
	}
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		host, port = "", bind // of version 1: the port alone
	}
	f.addListener(net.JoinHostPort(host, published(before, port)))
	return nil
}

// published is the port under which "docker run -p 443:3128" makes a container's
// port known.
func published(before []string, port string) string {
	for i, w := range before {
		v, attached := strings.CutPrefix(w, "--publish")
		if !attached {
			v, attached = shortPublish(w)
		}
		switch {
		case !attached:
			continue
		case v == "" && i+1 < len(before):
			v = before[i+1]
		}
		v, _, _ = strings.Cut(strings.TrimPrefix(v, "="), "/")
		parts := strings.Split(v, ":")
		if n := len(parts); n >= 2 && parts[n-1] == port {
			return parts[n-2]
		}
	}
	return port
}

// shortPublish returns what stands behind docker's -p in a word. Flags without a
// value may be before it, as in "-dp443:3128".
func shortPublish(word string) (v string, ok bool) {
	letters, isFlag := strings.CutPrefix(word, "-")
	v, ok = strings.CutPrefix(strings.TrimLeft(letters, "dit"), "p")
	return v, ok && isFlag
}
