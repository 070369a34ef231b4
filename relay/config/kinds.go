package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// wanted says what a key of type t takes.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return `a duration such as "30s"`
	case reflect.PointerTo(t).Implements(textType):
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct, reflect.Map:
		return "a table"
	case reflect.Slice:
		if isTable(t.Elem()) {
			return "an array of tables"
		}
		if t.Elem().Kind() == reflect.String {
			return "an array of strings"
		}
		return "an array"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "an integer"
}

// isTable reports whether t is only ever written as a table.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType)
}

// kindOf says what a value of the file is.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		return "a number with a fraction"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}

// repair is the hint for a value of the wrong kind. It never repeats a
// string, which may be a secret.
func repair(v any, key string, t reflect.Type) string {
	name := key[strings.LastIndex(key, ".")+1:]
	switch v := v.(type) {
	case int64:
		if t == durationType {
			return fmt.Sprintf(`for seconds write "%ds"`, v)
		}
		if t.Kind() == reflect.String {
			return "put it in quotes"
		}
	case string:
		switch t.Kind() {
		case reflect.Slice:
			return name + ` = ["…"], with brackets`
		case reflect.Bool, reflect.Int, reflect.Int64:
			if _, err := strconv.Atoi(v); err == nil || v == "true" || v == "false" {
				return "write it without quotes"
			}
		}
	case map[string]any:
		if t.Kind() == reflect.Slice && isTable(t.Elem()) {
			return "write [[" + header(key) + "]], with two brackets, above what belongs to it"
		}
	case []any:
		if t.Kind() == reflect.Struct && len(v) > 0 {
			return "write [" + header(key) + "], with one bracket"
		}
	}
	return ""
}

// header is a key as TOML has it between brackets: elements of arrays of tables have
// no number there.
func header(key string) string { return index.ReplaceAllString(key, "") }

var index = regexp.MustCompile(`\[\d+\]`)

// parseDuration reads what time.ParseDuration reads, with whole days in
// front: "2d", "1d12h". Nothing in the config has a use for a negative one.
func parseDuration(s string) (time.Duration, error) {
	bad := errors.New(shown(s) + " is not a duration")
	rest := s
	var days int64
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil || n > math.MaxInt64/uint64(24*time.Hour) {
			return 0, bad
		}
		days, rest = int64(n), after
	}
	var d time.Duration
	if rest != "" || s == "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil {
			return 0, bad
		}
	}
	if strings.HasPrefix(rest, "-") {
		return 0, errors.New(shown(s) + " is negative")
	}
	total := time.Duration(days)*24*time.Hour + d
	if total < 0 {
		return 0, errors.New(shown(s) + " is too long")
	}
	return total, nil
}

// formatDuration writes d without the zero units that String adds: "1h", not
// "1h0m0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
