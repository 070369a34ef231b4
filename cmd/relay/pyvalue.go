package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// value reads what stands behind "=", or in a list. What is not a literal is
// pyUnknown, and left to who knows where it ends.
func (p *pyParser) value(depth int) (any, error) {
	if p.items++; depth > maxPyDepth || p.items > maxPyItems {
		return nil, errPyNested
	}
	p.skip(depth > 0)
	switch c := p.peek(); {
	case c == '{':
		return p.dict(depth)
	case c == '[':
		return p.list(depth, ']')
	case c == '(':
		return p.list(depth, ')')
	case c == '"' || c == '\'':
		return p.strings(depth, false)
	case c == '-' || c >= '0' && c <= '9':
		return p.number(), nil
	}
	switch w := p.word(); w {
	case "True":
		return true, nil
	case "False":
		return false, nil
	case "None":
		return nil, nil
	case "r", "R", "b", "B", "u", "U", "rb", "br", "Rb", "bR", "RB", "BR":
		if c := p.peek(); c == '"' || c == '\'' {
			return p.strings(depth, strings.ContainsAny(w, "rR"))
		}
	default:
		p.mention(w)
	}
	return pyUnknown{}, nil
}

// strings reads strings that stand side by side.
func (p *pyParser) strings(depth int, raw bool) (any, error) {
	var b strings.Builder
	for {
		s, err := p.str(raw)
		if err != nil {
			return nil, err
		}
		b.WriteString(s)
		p.skip(depth > 0)
		if c := p.peek(); c != '"' && c != '\'' {
			return b.String(), nil
		}
	}
}

// str reads one string, in any quotes.
func (p *pyParser) str(raw bool) (string, error) {
	quote := p.text[p.at : p.at+1]
	long := strings.HasPrefix(p.text[p.at:], strings.Repeat(quote, 3))
	if long {
		quote = strings.Repeat(quote, 3)
	}
	p.at += len(quote)
	var b strings.Builder
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case strings.HasPrefix(p.text[p.at:], quote):
			p.at += len(quote)
			return b.String(), nil
		case c == '\n' && !long:
			return "", errPyString
		case c == '\\' && p.at+1 < len(p.text):
			p.escape(&b, raw)
		default:
			b.WriteByte(c)
			p.at++
		}
	}
	return "", errPyString
}

// escape reads a backslash with what follows it. Secrets and names need none;
// those of other characters are kept as they are written.
func (p *pyParser) escape(b *strings.Builder, raw bool) {
	c := p.text[p.at+1]
	p.at += 2
	plain := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': `"`, '\n': ""}
	switch s, ok := plain[c]; {
	case ok && !raw:
		b.WriteString(s)
	case c == 'x' && !raw && p.at+2 <= len(p.text):
		n, err := strconv.ParseUint(p.text[p.at:p.at+2], 16, 8)
		if err != nil {
			b.WriteString(`\x`)
			return
		}
		p.at += 2
		b.Write(utf8.AppendRune(nil, rune(n)))
	default:
		b.WriteByte('\\')
		b.WriteByte(c)
	}
}

func (p *pyParser) number() any {
	from := p.at
	if p.peek() == '-' {
		p.at++
	}
	p.word()
	n, err := strconv.ParseInt(p.text[from:p.at], 0, 64) // with 0x and _ as in Python
	if err != nil || p.peek() == '.' {
		return pyUnknown{}
	}
	return n
}

// dict reads a dictionary, or a set.
func (p *pyParser) dict(depth int) (any, error) {
	p.at++
	d := pyDict{}
	for {
		p.skip(true)
		switch p.peek() {
		case '}':
			p.at++
			return d, nil
		case 0:
			return nil, errPyEnd
		}
		k, err := p.element(depth, ":,}")
		if err != nil {
			return nil, err
		}
		it := pyItem{key: k, value: pyUnknown{}}
		if p.peek() == ':' {
			p.at++
			if it.value, err = p.element(depth, ",}"); err != nil {
				return nil, err
			}
		}
		d = append(d, it)
		if p.peek() == ',' {
			p.at++
		}
	}
}

// list reads a list or a tuple; a value in parentheses is itself.
func (p *pyParser) list(depth int, end byte) (any, error) {
	p.at++
	l := pyList{}
	commas := false
	for {
		p.skip(true)
		switch p.peek() {
		case end:
			p.at++
			if end == ')' && len(l) == 1 && !commas {
				return l[0], nil
			}
			return l, nil
		case 0:
			return nil, errPyEnd
		}
		v, err := p.element(depth, ","+string(end))
		if err != nil {
			return nil, err
		}
		l = append(l, v)
		if p.peek() == ',' {
			p.at++
			commas = true
		}
	}
}

// element reads a value up to one of ends, at which it stops. With more behind
// it than a literal it is unknown.
func (p *pyParser) element(depth int, ends string) (any, error) {
	v, err := p.value(depth + 1)
	if err != nil {
		return nil, err
	}
	nested := 0
	for {
		p.skip(true)
		c := p.peek()
		switch {
		case c == 0:
			return nil, errPyEnd
		case nested == 0 && strings.IndexByte(ends, c) >= 0:
			return v, nil
		case c == '"' || c == '\'':
			if _, err := p.str(false); err != nil {
				return nil, err
			}
			v = pyUnknown{}
			continue
		case strings.IndexByte("([{", c) >= 0:
			nested++
		case strings.IndexByte(")]}", c) >= 0:
			if nested--; nested < 0 {
				return nil, errPyEnd
			}
		}
		v = pyUnknown{}
		if w := p.word(); w != "" {
			p.mention(w)
			continue
		}
		p.at++
	}
}
