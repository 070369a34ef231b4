package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"relay/relay/mtproto"
)

// mtprotoproxy's configuration is a program. What counts in it are assignments
// of literals at the beginning of a line; they are read, and nothing is run. Where
// another statement has a name that counts, the import is refused.

// pyNames are the names that count, and what may change them without saying so.
var pyNames = []string{
	"USERS", "PORT", "TLS_DOMAIN", "MODES", "SECURE_ONLY", "TLS_ONLY", "USER_MAX_TCP_CONNS", "USER_EXPIRATIONS", "USER_DATA_QUOTA",
	"MY_DOMAIN", "AD_TAG", "SOCKS5_HOST", "LISTEN_ADDR_IPV6", "exec", "globals", "locals", "vars", pyStar,
}

const pyStar = "import *"

// pyDict is a dictionary in its order.
type pyDict []pyItem

type pyItem struct{ key, value any }

// pyUnknown is a value that only Python could find out.
type pyUnknown struct{}

// pyList is a list, tuple or set.
type pyList []any

const (
	maxPyDepth = 16
	maxPyItems = 1 << 18
)

// assignsUsers reports whether a text looks like mtprotoproxy's configuration.
func assignsUsers(text string) bool {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "USERS")
		rest = strings.TrimLeft(rest, " \t")
		if ok && (strings.HasPrefix(rest, "=") || strings.HasPrefix(rest, ":") && strings.Contains(rest, "=")) {
			return true
		}
	}
	return false
}

func parsePython(text string) (*foreign, error) {
	vars, err := pyAssignments(text)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"MODES", "SECURE_ONLY", "TLS_ONLY", "USER_MAX_TCP_CONNS", "USER_EXPIRATIONS"} {
		if !isPlain(vars[name]) {
			return nil, fmt.Errorf("%s has a value that is computed: write what it is, in a copy of the file", name)
		}
	}
	f := &foreign{Program: programPython}
	// As in mtprotoproxy's init_config: without MODES all are on, with it those that it has.
	_, some := vars["MODES"]
	modes := map[string]bool{"classic": !some, "secure": !some, "tls": !some}
	for _, it := range asDict(vars["MODES"]) {
		if name, ok := it.key.(string); ok {
			modes[name] = truth(it.value)
		}
	}
	if only, said := vars["SECURE_ONLY"]; said {
		modes["classic"] = !truth(only)
	}
	if truth(vars["TLS_ONLY"]) {
		modes["classic"], modes["secure"] = false, false
	}
	if err := f.pyUsers(vars, kindsOf(modes["classic"], modes["secure"], modes["tls"])); err != nil {
		return nil, err
	}
	port := int64(3256) // mtprotoproxy's default
	if n, ok := vars["PORT"].(int64); ok {
		port = n
	} else if vars["PORT"] != nil {
		return nil, errors.New("PORT is not a plain number: write it as one, in a copy of the file")
	}
	f.addPort(strconv.FormatInt(port, 10))
	address, said := vars["LISTEN_ADDR_IPV6"]
	f.IPv6 = !said || truth(address) // it is "::" by default
	if domain, ok := vars["MY_DOMAIN"].(string); ok {
		f.addPublic(domain)
	}
	if perhaps(vars["AD_TAG"]) {
		f.loseTag()
	}
	if perhaps(vars["SOCKS5_HOST"]) {
		f.loseSOCKS5()
	}
	return f, nil
}

func (f *foreign) pyUsers(vars map[string]any, kinds []mtproto.Kind) error {
	users, ok := vars["USERS"].(pyDict)
	if !ok {
		return errors.New(`USERS is not a plain dictionary: write it as { "name": "32 hexadecimal digits", … }, in a copy of the file`)
	}
	domain := "www.google.com" // mtprotoproxy's default
	switch d := vars["TLS_DOMAIN"].(type) {
	case nil:
	case string:
		domain = d
	default:
		return errors.New("TLS_DOMAIN is not a plain string: write it as one, in a copy of the file")
	}
	var names []string
	secrets := make(map[string]string)
	for _, it := range users {
		name, okName := it.key.(string)
		secret, okSecret := it.value.(string)
		if !okName || !okSecret {
			return errors.New("USERS has an entry that is not a plain string: write it as one, in a copy of the file")
		}
		if _, again := secrets[name]; !again {
			names = append(names, name)
		}
		secrets[name] = secret // as in Python, the last one counts
	}
	if err := f.people(names, secrets, kinds, domain); err != nil {
		return err
	}
	index := make(map[string]*foreignUser)
	for i, name := range names {
		index[name] = &f.Users[i]
	}
	return f.pyLimits(vars, index)
}

func (f *foreign) pyLimits(vars map[string]any, index map[string]*foreignUser) error {
	for _, it := range asDict(vars["USER_MAX_TCP_CONNS"]) {
		name, _ := it.key.(string)
		if n, ok := it.value.(int64); ok && n > 0 && n < 1<<31 && index[name] != nil {
			index[name].MaxConns = int(n)
		}
	}
	for _, it := range asDict(vars["USER_EXPIRATIONS"]) {
		name, _ := it.key.(string)
		when, _ := it.value.(string)
		if index[name] == nil {
			continue
		}
		t, err := time.Parse("_2/1/2006", when) // what strptime takes for %d/%m/%Y
		if err != nil {
			return fmt.Errorf("USER_EXPIRATIONS of %s is not a day such as 31/12/2030", userName(name))
		}
		index[name].Expires = t
	}
	var quotas []string
	for _, it := range asDict(vars["USER_DATA_QUOTA"]) {
		if name, ok := it.key.(string); ok && index[name] != nil {
			quotas = append(quotas, name)
		}
	}
	f.loseQuotas(quotas)
	return nil
}

func asDict(v any) pyDict {
	d, _ := v.(pyDict)
	return d
}

// truth is Python's, for the values that are understood.
func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case int64:
		return v != 0
	}
	return false
}

// perhaps is truth, also for what only Python could find out.
func perhaps(v any) bool { return truth(v) || !isPlain(v) }

// isPlain reports whether nothing in a value is unknown.
func isPlain(v any) bool {
	switch v := v.(type) {
	case pyUnknown:
		return false
	case pyDict:
		return !slices.ContainsFunc(v, func(it pyItem) bool { return !isPlain(it.key) || !isPlain(it.value) })
	case pyList:
		return !slices.ContainsFunc(v, func(e any) bool { return !isPlain(e) })
	}
	return true
}

// pyAssignments are the values that names have in the end.
func pyAssignments(text string) (map[string]any, error) {
	p := &pyParser{text: text}
	vars := make(map[string]any)
	for {
		p.skip(true)
		if p.at >= len(p.text) {
			return vars, nil
		}
		begin, line := p.at == 0 || p.text[p.at-1] == '\n', p.line()
		name := p.word()
		p.skip(false)
		if begin && name != "" && p.peek() == ':' {
			if set, err := p.annotation(); err != nil {
				return nil, fmt.Errorf("line %d: %w", p.line(), err)
			} else if !set && p.mentioned == "" {
				continue
			}
		}
		switch {
		case begin && name != "" && p.peek() == '=' && !strings.HasPrefix(p.text[p.at:], "=="):
			p.at++
			v, err := p.value(0)
			if err == nil {
				v, err = p.whole(v)
			}
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", p.line(), err)
			}
			vars[name] = v
		default:
			p.mention(name)
			if err := p.statement(); err != nil {
				return nil, fmt.Errorf("line %d: %w", p.line(), err)
			}
		}
		if p.mentioned != "" {
			return nil, fmt.Errorf("line %d: %s stands in a statement, and import runs none: leave it out of a copy of the file, and write what counts as NAME = value, each on a line of its own", line, p.mentioned)
		}
	}
}

// pyParser reads literals. It stands at text[at].
type pyParser struct {
	text      string
	at        int
	items     int
	mentioned string // of pyNames, by what is not read
}

var (
	errPyString = errors.New("a string does not end")
	errPyNested = errors.New("too much in one value")
	errPyEnd    = errors.New("a bracket has no other")
)

func (p *pyParser) line() int { return 1 + strings.Count(p.text[:min(p.at, len(p.text))], "\n") }

func (p *pyParser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// skip goes over blanks and comments, and over line ends where they mean nothing.
func (p *pyParser) skip(lines bool) {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '#':
			for p.at < len(p.text) && p.text[p.at] != '\n' {
				p.at++
			}
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || lines && c == '\n':
			p.at++
		case c == '\\' && strings.HasPrefix(p.text[p.at:], "\\\n"):
			p.at += 2
		default:
			return
		}
	}
}

func (p *pyParser) word() string {
	from := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c != '_' && (c >= 128 || !unicode.IsLetter(rune(c)) && !unicode.IsDigit(rune(c))) {
			break
		}
		p.at++
	}
	return p.text[from:p.at]
}

// mention notes a word of what is not read.
func (p *pyParser) mention(word string) {
	if word == "import" {
		if p.skip(false); p.peek() == '*' {
			word = pyStar
		}
	}
	if p.mentioned == "" && slices.Contains(pyNames, word) {
		p.mentioned = word
	}
}

// annotation goes to the "=" behind a name's annotation (PEP 526), and reports
// whether there is one: it is at the end of the statement otherwise.
func (p *pyParser) annotation() (set bool, err error) {
	err = p.upTo("=")
	return p.peek() == '=', err
}

// statement goes to the end of a statement that is not read.
func (p *pyParser) statement() error { return p.upTo("") }

// upTo goes behind the end of a statement, or to one of stops outside of brackets.
func (p *pyParser) upTo(stops string) error {
	depth := 0
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case depth <= 0 && strings.IndexByte(stops, c) >= 0:
			return nil
		case c == '#' || c == '\\':
			before := p.at
			if p.skip(false); p.at == before {
				p.at++
			}
			continue
		case c == '"' || c == '\'':
			if _, err := p.str(false); err != nil {
				return err
			}
			continue
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case c == '\n' && depth <= 0:
			p.at++
			return nil
		}
		if w := p.word(); w != "" {
			p.mention(w)
			continue
		}
		p.at++
	}
	return nil
}

// whole makes a value unknown that more follows: an operator, a call.
func (p *pyParser) whole(v any) (any, error) {
	p.skip(false)
	if c := p.peek(); c == '\n' || c == 0 || c == ';' {
		return v, nil
	}
	return pyUnknown{}, p.statement()
}
