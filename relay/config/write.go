package config

import (
	"bufio"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tomlMarshaler is the other half of tomlUnmarshaler: a string, a bool or a
// number to write instead of the value; nil leaves the key out.
type tomlMarshaler interface{ MarshalTOML() any }

// Write writes the config as it is in effect, defaults and the tables of the
// parts included, as TOML that Parse accepts. A field whose type implements
// slog.LogValuer is a secret: what its LogValue says is written instead.
// Strings of plain type are written as they are.
func (c *Config) Write(w io.Writer, tables []Table) error {
	// Writing to b needs no checks: a bufio.Writer keeps its first error for Flush.
	b := bufio.NewWriter(w)
	root := reflect.ValueOf(c).Elem()
	var later []Table
	for _, f := range fieldsOf(root.Type()) {
		v := root.FieldByIndex(f.index)
		if v.Kind() != reflect.String {
			later = append(later, Table{Name: f.name, Options: v.Addr().Interface()})
			continue
		}
		if err := writeKey(b, f.name, v); err != nil {
			return err
		}
	}
	for _, t := range append(later, tables...) {
		if err := writeTable(b, t); err != nil {
			return err
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("config: write: %w", err)
	}
	return nil
}

// writeTable writes [name], or one [[name]] for each element.
func writeTable(b *bufio.Writer, t Table) error {
	v := reflect.ValueOf(t.Options)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("config: write: options of [%s] are no pointer", t.Name)
	}
	v = v.Elem()
	if v.Kind() != reflect.Slice {
		fmt.Fprintf(b, "\n[%s]\n", tomlKey(t.Name))
		return writeFields(b, v)
	}
	for i := range v.Len() {
		fmt.Fprintf(b, "\n[[%s]]\n", tomlKey(t.Name))
		if err := writeFields(b, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// writeFields writes a struct, one key a line.
func writeFields(b *bufio.Writer, v reflect.Value) error {
	pairs, err := pairsOf(v)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if err := writeKey(b, p.name, p.value); err != nil {
			return err
		}
	}
	return nil
}

// writeKey writes one line, or none for what is not set.
func writeKey(b *bufio.Writer, name string, v reflect.Value) error {
	text, err := literal(v)
	if err != nil {
		return fmt.Errorf("config: write: %s: %w", name, err)
	}
	if text != "" {
		fmt.Fprintf(b, "%s = %s\n", tomlKey(name), text)
	}
	return nil
}

// literal returns v as TOML on one line; "" is a nil, which TOML cannot say.
func literal(v reflect.Value) (string, error) {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return "", nil
		}
		return literal(addressable(v.Elem()))
	}
	switch x := v.Addr().Interface().(type) {
	case slog.LogValuer:
		return quote(slog.AnyValue(x).Resolve().String()), nil
	case tomlMarshaler:
		if other := x.MarshalTOML(); other != nil {
			return literal(addressable(reflect.ValueOf(other)))
		}
		return "", nil
	case *time.Duration:
		return quote(formatDuration(*x)), nil
	case *time.Time:
		return x.Format(time.RFC3339Nano), nil
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			return "", err
		}
		// No text: either it is empty, or it was written as a table.
		if len(text) > 0 || v.Kind() != reflect.Struct || len(fieldsOf(v.Type())) == 0 {
			return quote(string(text)), nil
		}
	}
	return plainLiteral(v)
}

// plainLiteral writes by kind.
func plainLiteral(v reflect.Value) (string, error) {
	switch {
	case v.Kind() == reflect.String:
		return quote(v.String()), nil
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10), nil
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10), nil
	case v.CanFloat() && !math.IsInf(v.Float(), 0) && !math.IsNaN(v.Float()):
		return strconv.FormatFloat(v.Float(), 'e', -1, v.Type().Bits()), nil
	case v.Kind() == reflect.Slice:
		return arrayLiteral(v)
	case v.Kind() == reflect.Struct, v.Kind() == reflect.Map:
		return tableLiteral(v)
	}
	return "", fmt.Errorf("cannot write %s", v.Type())
}

func arrayLiteral(v reflect.Value) (string, error) {
	parts := make([]string, 0, v.Len())
	for i := range v.Len() {
		text, err := literal(v.Index(i))
		if err != nil {
			return "", err
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return "[" + strings.Join(parts, ", ") + "]", nil
}

// pair is a key with its value.
type pair struct {
	name  string
	value reflect.Value
}

// pairsOf lists what is in a struct, or in a map by sorted keys.
func pairsOf(v reflect.Value) ([]pair, error) {
	var pairs []pair
	if v.Kind() == reflect.Struct {
		for _, f := range fieldsOf(v.Type()) {
			pairs = append(pairs, pair{f.name, v.FieldByIndex(f.index)})
		}
		return pairs, nil
	}
	if v.Kind() != reflect.Map {
		return nil, fmt.Errorf("config: write: %s is no table", v.Type())
	}
	for key, value := range v.Seq2() {
		name := fmt.Sprint(key)
		if m, ok := key.Interface().(encoding.TextMarshaler); ok {
			text, err := m.MarshalText()
			if err != nil {
				return nil, err
			}
			name = string(text)
		}
		pairs = append(pairs, pair{name, addressable(value)})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return pairs, nil
}

func tableLiteral(v reflect.Value) (string, error) {
	pairs, err := pairsOf(v)
	if err != nil {
		return "", err
	}
	parts := make([]string, 0, len(pairs))
	for _, p := range pairs {
		text, err := literal(p.value)
		if err != nil {
			return "", err
		}
		if text != "" {
			parts = append(parts, tomlKey(p.name)+" = "+text)
		}
	}
	if len(parts) == 0 {
		return "{}", nil
	}
	return "{ " + strings.Join(parts, ", ") + " }", nil
}

// addressable returns a copy of v whose address may be taken, so that methods
// with pointer receivers are found on values out of maps and interfaces too.
func addressable(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type()).Elem()
	p.Set(v)
	return p
}

// tomlKey writes a key, in quotes where it needs them.
func tomlKey(name string) string {
	if isBare(name) {
		return name
	}
	return quote(name)
}

// quote writes a TOML basic string (TOML 1.0, "String"). strconv.Quote does
// not do: TOML has no \x escapes, and no room for broken UTF-8.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
