package config

import (
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tomlUnmarshaler is a type that reads more than one kind of value, such as
// Anonymous. v is what go-toml makes of the value when it decodes into an any.
type tomlUnmarshaler interface{ UnmarshalTOML(v any) error }

// field is a struct field that a key sets.
type field struct {
	name  string
	index []int
}

// fieldsOf lists the keys of a struct in order: the fields with a toml tag,
// and those of embedded structs.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case name == "-":
		case name != "" && f.IsExported():
			fields = append(fields, field{name, f.Index})
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			for _, inner := range fieldsOf(f.Type) {
				fields = append(fields, field{inner.name, append(slices.Clone(f.Index), inner.index...)})
			}
		}
	}
	return fields
}

func names(fields []field) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.name
	}
	return all
}

// decoder maps the generic tree of a file to structs. A value with a fault
// leaves its field as it was.
type decoder struct {
	*collector
	top []string // the keys at the top of the file
}

// fault reports a value that cannot be used.
func (d *decoder) fault(at *place, key, problem, hint string) {
	d.add(at.line, key, problem, hint)
	d.spoil(key)
}

// table decodes a table into a struct.
func (d *decoder) table(m map[string]any, at *place, key string, dst reflect.Value) {
	fields := fieldsOf(dst.Type())
	for _, name := range slices.Sorted(maps.Keys(m)) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			d.unknown(at.at(name), key, name, names(fields))
			continue
		}
		d.value(m[name], at.at(name), join(key, name), dst.FieldByIndex(fields[i].index))
	}
}

// unknown reports a key that does not exist.
func (d *decoder) unknown(at *place, table, name string, known []string) {
	hint := suggest(name, known, "keys")
	near := nearest(name, known)
	switch {
	case near != "":
		// The key that was meant is not missing as well.
		d.spoil(join(table, near))
	// TOML has no way back to the top: a key below [log] is a key of log.
	case table != "" && slices.Contains(d.top, name):
		hint = fmt.Sprintf("%q belongs at the top of the file, before the first [table]", name)
	}
	d.add(at.line, join(table, name), "unknown key", hint)
}

// value decodes one value of any kind.
func (d *decoder) value(v any, at *place, key string, dst reflect.Value) {
	t := dst.Type()
	if t.Kind() == reflect.Pointer {
		elem := reflect.New(t.Elem())
		d.value(v, at, key, elem.Elem())
		dst.Set(elem)
		return
	}
	switch u := dst.Addr().Interface().(type) {
	case tomlUnmarshaler:
		d.custom(v, at, key, dst, func(p any) error { return p.(tomlUnmarshaler).UnmarshalTOML(v) })
		return
	case *time.Duration:
		s, ok := v.(string)
		if !ok {
			d.mismatch(v, at, key, t)
			return
		}
		n, err := parseDuration(s)
		if err != nil {
			d.fault(at, key, err.Error(), `write it as "30s", "1h30m" or "2d"`)
			return
		}
		*u = n
		return
	case encoding.TextUnmarshaler:
		if s, ok := v.(string); ok {
			d.custom(v, at, key, dst, func(p any) error { return p.(encoding.TextUnmarshaler).UnmarshalText([]byte(s)) })
			return
		}
		// A text that may also be written as a table is decoded as one below.
		if _, ok := v.(map[string]any); !ok || t.Kind() != reflect.Struct || len(fieldsOf(t)) == 0 {
			d.assign(v, at, key, dst)
			return
		}
	}
	d.plain(v, at, key, dst)
}

// custom lets a type read its own value, into a copy: half a value is none.
func (d *decoder) custom(v any, at *place, key string, dst reflect.Value, read func(p any) error) {
	p := reflect.New(dst.Type())
	p.Elem().Set(dst)
	err := read(p.Interface())
	if err == nil {
		dst.Set(p.Elem())
		return
	}
	problem := err.Error()
	if s, ok := v.(string); ok && s != "" && isSecret(dst) {
		// Parsers like to repeat what they were given. A fault goes to the journal.
		problem = strings.ReplaceAll(strings.ReplaceAll(problem, strconv.Quote(s), "[secret]"), s, "[secret]")
	}
	d.fault(at, key, problem, "")
}

// isSecret reports whether v hides its value from logs.
func isSecret(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(slog.LogValuer)
	return ok
}

// plain decodes by the kind of dst.
func (d *decoder) plain(v any, at *place, key string, dst reflect.Value) {
	switch dst.Kind() {
	case reflect.Struct:
		if m, ok := v.(map[string]any); ok {
			d.table(m, at, key, dst)
			return
		}
	case reflect.Slice:
		if s, ok := v.([]any); ok {
			d.slice(s, at, key, dst)
			return
		}
	case reflect.Map:
		if m, ok := v.(map[string]any); ok {
			d.mapping(m, at, key, dst)
			return
		}
	case reflect.String:
		if s, ok := v.(string); ok {
			dst.SetString(s)
			return
		}
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			dst.SetBool(b)
			return
		}
	default:
		d.number(v, at, key, dst)
		return
	}
	d.assign(v, at, key, dst)
}

// number decodes into the number kinds.
func (d *decoder) number(v any, at *place, key string, dst reflect.Value) {
	n, isInt := v.(int64)
	f, isFloat := v.(float64)
	switch {
	case dst.CanInt() && isInt:
		if dst.OverflowInt(n) {
			d.fault(at, key, fmt.Sprintf("%d is out of range", n), "")
			return
		}
		dst.SetInt(n)
	case dst.CanUint() && isInt:
		if n < 0 || dst.OverflowUint(uint64(n)) {
			d.fault(at, key, fmt.Sprintf("%d is out of range", n), "")
			return
		}
		dst.SetUint(uint64(n))
	case dst.CanFloat() && (isInt || isFloat):
		if isInt {
			f = float64(n)
		}
		if math.IsNaN(f) || math.IsInf(f, 0) || dst.OverflowFloat(f) {
			d.fault(at, key, fmt.Sprintf("%v is out of range", f), "")
			return
		}
		dst.SetFloat(f)
	default:
		d.assign(v, at, key, dst)
	}
}

// slice decodes an array. It replaces a default, and an element with a fault
// keeps its index.
func (d *decoder) slice(s []any, at *place, key string, dst reflect.Value) {
	out := reflect.MakeSlice(dst.Type(), len(s), len(s))
	for i, v := range s {
		d.value(v, at.item(i), item(key, i), out.Index(i))
	}
	dst.Set(out)
}

// mapping decodes a table whose keys are data, into a map.
func (d *decoder) mapping(m map[string]any, at *place, key string, dst reflect.Value) {
	t := dst.Type()
	out := reflect.MakeMapWithSize(t, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k, v := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := setKey(k, name); err != nil {
			d.fault(at.at(name), join(key, name), err.Error(), "")
			continue
		}
		d.value(m[name], at.at(name), join(key, name), v)
		out.SetMapIndex(k, v)
	}
	dst.Set(out)
}

// setKey sets the key of a map: a text, a string or a whole number.
func setKey(k reflect.Value, name string) error {
	if u, ok := k.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(name))
	}
	switch {
	case k.Kind() == reflect.String:
		k.SetString(name)
		return nil
	case k.CanInt():
		n, err := strconv.ParseInt(name, 10, k.Type().Bits())
		if err != nil {
			return errors.New("want a whole number as the key")
		}
		k.SetInt(n)
		return nil
	}
	return fmt.Errorf("the program cannot read keys into %s", k.Type())
}

// assign sets dst where v has its very type, such as a date or an any;
// everything else is the wrong kind of value.
func (d *decoder) assign(v any, at *place, key string, dst reflect.Value) {
	if reflect.TypeOf(v).AssignableTo(dst.Type()) {
		dst.Set(reflect.ValueOf(v))
		return
	}
	d.mismatch(v, at, key, dst.Type())
}

// mismatch reports a value of the wrong kind.
func (d *decoder) mismatch(v any, at *place, key string, t reflect.Type) {
	d.fault(at, key, "want "+wanted(t)+", got "+kindOf(v), repair(v, key, t))
}
