package main

import (
	"errors"
	"strings"
)

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
