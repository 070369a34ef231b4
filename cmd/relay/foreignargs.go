package main

import (
	"cmp"
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
		if !slices.ContainsFunc([]string{"mtproto-proxy", "mtg", dockerImage}, func(word string) bool { return strings.Contains(line, word) }) {
			continue // in whatever language
		}
		if err := f.readLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	switch {
	case f.Program == "" && f.made != nil:
		return nil, f.made
	case f.Program == "":
		return nil, errForeign
	case f.made != nil:
		f.lose("a container of %s beside these: %v", dockerImage, f.made)
	}
	return f, nil
}

// readLine reads the commands of a line, and of lines that a shell gets with -c.
func (f *foreign) readLine(line string) error {
	commands, err := shellWords(line)
	if err != nil {
		return err
	}
	for _, words := range commands {
		if err := f.readCommand(words); err != nil {
			return err
		}
		for i := 1; i+1 < len(words); i++ {
			if strings.HasSuffix(program(words[i-1]), "sh") && strings.HasPrefix(words[i], "-") && strings.HasSuffix(words[i], "c") {
				if err := f.readLine(words[i+1]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// dockerImage is Telegram's own image of MTProxy.
const dockerImage = "telegrammessenger/proxy"

// readCommand reads a command that starts one of the programs, and passes over
// others: those that copy, stop or mention it. The last word that is a program
// counts: a container may have its name before.
func (f *foreign) readCommand(words []string) error {
	for i := len(words) - 1; i >= 0; i-- {
		args := words[i+1:]
		if isImage(words[i]) && slices.ContainsFunc(words[:i], func(w string) bool { return w == "run" || w == "create" }) {
			return f.readImage(words[:i], args)
		}
		if len(args) == 0 {
			continue
		}
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

// program is the name of a program in a word: a path, or an image with a tag or a
// digest.
func program(word string) string {
	name := path.Base(word)
	if i := strings.IndexAny(name, ":@"); i >= 0 {
		name = name[:i]
	}
	return name
}

// isImage reports whether a word is Telegram's image, with or without a registry, a
// tag or a digest.
func isImage(word string) bool {
	name := path.Join(path.Dir(word), program(word))
	return name == dockerImage || strings.HasSuffix(name, "/"+dockerImage)
}

var (
	errVariable     = errors.New("the secret is a variable: write its value in the place of it, in a copy of the file")
	errEnvFile      = errors.New("the secret is in a file of variables: write it as -e SECRET=…, in a copy of the line")
	errMade         = errors.New("the secret is not there, so that the container has made one: add -e SECRET=… with what docker logs says of it, in a copy of the line")
	errPortVariable = errors.New("the port is a variable: write its value in the place of it, in a copy of the file")
)

// readImage reads the settings of a container of Telegram's image, which are in its
// environment. Within it the port is 443. With another entrypoint the words behind
// the image are mtproto-proxy's own, or a command that is read by itself.
func (f *foreign) readImage(before, args []string) error {
	switch {
	case slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-S") || strings.HasPrefix(a, "--mtproto-secret") }):
		f.Program = programMTProxy
		return f.readMTProxy(before, args)
	case slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "mtproto-proxy") }):
		return nil
	}
	secrets, missing := "", errMade
	err := flags(before, func(flag, v string) (bool, error) {
		switch flag {
		case "-e", "--env":
		case "--env-file":
			missing = errEnvFile
			return true, nil
		default:
			return false, nil
		}
		switch name, value, valued := strings.Cut(v, "="); name {
		case "SECRET":
			if secrets = value; !valued {
				missing = errVariable
			}
		case "TAG":
			f.loseTag()
		}
		return true, nil
	}, func(string) error { return nil })
	if err != nil {
		return err
	}
	if secrets == "" {
		if missing != errMade {
			return missing
		}
		f.made = missing
		return nil
	}
	f.Program, f.Bare = programMTProxy, true
	for _, s := range strings.Split(secrets, ",") {
		if err := f.addMTProxySecret(s, nil); err != nil {
			return err
		}
	}
	f.addPort(published(before, "443"))
	return nil
}

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
		if strings.HasPrefix(p, "$") {
			return errPortVariable
		}
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
	var bind, shown string
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
	simple := args[0] == "simple-run"
	err := flags(args, func(flag, v string) (bool, error) {
		switch {
		case simple && flag == "-b":
			return true, nil // a buffer's size
		case simple && (flag == "-s" || flag == "--socks5-proxy"):
			f.loseSOCKS5()
			return true, nil
		}
		switch flag {
		case "-b", "--bind", "--bind-to":
			bind = v
		case "-s", "--secret":
			return true, secret(v)
		case "-4", "--public-ipv4", "-6", "--public-ipv6":
			if host, port, err := net.SplitHostPort(v); err == nil { // as links have them
				shown = port
				f.addPublic(host)
			}
		case "-t", "--stats-bind", "-n", "--doh-ip", "-i", "--prefer-ip", "-c", "--concurrency", "-a", "--antireplay-cache-size",
			"-p", "--domain-fronting-port", "--domain-fronting-ip", "--cloak-port", "--timeout", "--tcp-buffer", "-w", "-r", "--write-buffer", "--read-buffer":
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
	if bind == "" && !simple {
		bind = "0.0.0.0:3128" // version 1's default
	}
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		host, port = "", bind // of version 1: the port alone
	}
	if port = cmp.Or(shown, published(before, port)); strings.HasPrefix(port, "$") {
		return errPortVariable
	}
	f.addListener(net.JoinHostPort(host, port))
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
