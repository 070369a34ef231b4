package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxFile bounds the file. A relay with a thousand listeners needs a tenth.
const maxFile = 1 << 20

// checker is a table that looks at its own values.
type checker interface {
	Check(fault func(key, problem, hint string))
}

// Load reads and parses the file at path. The error is Faults, or says why the
// file could not be read.
func Load(path string, inbounds []string, tables []Table) (*Config, error) {
	src, err := read(path)
	if err != nil {
		return nil, err
	}
	c, faults := Parse(path, src, inbounds, tables)
	if faults != nil {
		return nil, faults
	}
	return c, nil
}

// read returns the file, or one byte more than it may have.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, readError(path, err)
	}
	defer f.Close() //nolint:errcheck // only read
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, readError(path, err)
	}
	return src, nil
}

// readError says what to do about a file that cannot be read.
func readError(path string, err error) error {
	todo := "name a file"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		todo = "name the file that holds the configuration, or make this one; deploy/relay.toml is a sample"
	case errors.Is(err, fs.ErrPermission):
		todo = "let the user that runs the relay read it and enter its folder"
	}
	// The error of os repeats the path.
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Errorf("config: read %s: %w; %s", path, err, todo)
}

// Parse reads the text of a file. file is its name in faults, inbounds are the
// names of the known inbounds, tables the tables of the parts. It returns
// either a Config or faults.
func Parse(file string, src []byte, inbounds []string, tables []Table) (*Config, Faults) {
	d := &decoder{collector: newCollector(file)}
	tree, places := d.tree(src)
	if len(d.faults) > 0 {
		return nil, d.sorted()
	}
	c := Default()
	d.config(c, tables, tree, places)
	if c.State == "" {
		c.State = defaultState()
	}
	// Past the bound nothing is noted about what could not be read, and the
	// checks would tell it all again.
	if d.dropped == 0 {
		d.checks(c, tables, tree, places, inbounds)
	}
	if len(d.faults) > 0 {
		return nil, d.sorted()
	}
	return c, nil
}

// tree reads the generic values of a file and where they stand.
func (d *decoder) tree(src []byte) (map[string]any, *place) {
	if len(src) > maxFile {
		d.add(0, "", fmt.Sprintf("more than %d bytes", maxFile), "lists of users and hosts do not belong here")
		return nil, nil
	}
	// Some editors put a byte order mark in front, which TOML does not know.
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	places, bad := readPlaces(src)
	if bad != nil {
		d.add(bad.line, "", bad.problem, "no config needs that")
		return nil, nil
	}
	var tree map[string]any
	if err := toml.Unmarshal(src, &tree); err != nil {
		d.syntax(src, err)
	}
	return tree, places
}

// config maps the values to c and the tables of the parts.
func (d *decoder) config(c *Config, tables []Table, tree map[string]any, places *place) {
	slots := map[string]reflect.Value{}
	root := reflect.ValueOf(c).Elem()
	for _, f := range fieldsOf(root.Type()) {
		slots[f.name] = root.FieldByIndex(f.index)
	}
	for _, t := range tables {
		v := reflect.ValueOf(t.Options)
		if _, taken := slots[t.Name]; taken || v.Kind() != reflect.Pointer || v.IsNil() {
			d.add(0, t.Name, "two parts want this table, or its options are no pointer", "this is a bug of the program: please report it")
			continue
		}
		slots[t.Name] = v.Elem()
	}
	d.top = slices.Collect(maps.Keys(slots))
	slices.Sort(d.top)
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if slot, ok := slots[name]; ok {
			d.value(tree[name], places.at(name), join("", name), slot)
		} else {
			d.unknown(places.at(name), "", name, d.top)
		}
	}
}

// checks calls all checks of values that have been read.
func (d *decoder) checks(c *Config, tables []Table, tree map[string]any, places *place, inbounds []string) {
	d.listeners(c, places, inbounds)
	for _, t := range []Table{
		{Name: "cover", Options: &c.Cover}, {Name: "egress", Options: &c.Egress}, {Name: "dns", Options: &c.DNS}, {Name: "limits", Options: &c.Limits},
		{Name: "log", Options: &c.Log}, {Name: "admin", Options: &c.Admin},
	} {
		d.check(t, places.at(t.Name))
	}
	for _, t := range tables {
		at := namedBy(c.Listen, places.at("listen"), t.Name)
		if _, ok := tree[t.Name]; ok {
			at = places.at(t.Name)
		}
		if at == nil {
			continue
		}
		d.check(t, at)
		if t.Agree != nil {
			t.Agree(c, d.anywhere(places, at))
		}
	}
}

// check calls the Check of a table, or of each element of a [[table]].
func (d *decoder) check(t Table, at *place) {
	if c, ok := t.Options.(checker); ok {
		c.Check(d.relative(t.Name, at))
		return
	}
	v := reflect.ValueOf(t.Options)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Slice {
		return
	}
	for i := range v.Elem().Len() {
		if c, ok := v.Elem().Index(i).Addr().Interface().(checker); ok {
			c.Check(d.relative(item(t.Name, i), at.item(i)))
		}
	}
}

// relative returns the fault function of a table: keys are relative to it.
func (d *decoder) relative(table string, at *place) func(key, problem, hint string) {
	return func(key, problem, hint string) {
		full := table
		switch {
		case strings.HasPrefix(key, "["):
			full += key
		case key != "":
			full += "." + key
		}
		if !d.spoiled(full) {
			d.add(at.find(key).line, full, problem, hint)
		}
	}
}

// anywhere returns the fault function of Agree: keys are those of the file, and
// the fault of one that is not in it stands at the given place.
func (d *decoder) anywhere(file, at *place) func(key, problem, hint string) {
	return func(key, problem, hint string) {
		where := file.find(key)
		if where == file {
			where = at
		}
		if !d.spoiled(key) {
			d.add(where.line, key, problem, hint)
		}
	}
}

// namedBy returns where a listener names the inbound, or nil.
func namedBy(listen []Listen, at *place, inbound string) *place {
	for i := range listen {
		if j := slices.Index(listen[i].Inbounds, inbound); j >= 0 {
			return at.item(i).at("inbounds").item(j)
		}
	}
	return nil
}

// syntax reports the one fault at which the TOML library stops.
func (d *decoder) syntax(src []byte, err error) {
	bad, ok := errors.AsType[*toml.DecodeError](err)
	if !ok {
		d.add(0, "", err.Error(), "")
		return
	}
	line, column := bad.Position()
	problem := strings.TrimPrefix(bad.Error(), "toml: ")
	var hints []string
	if near := excerpt(src, line); near != "" {
		hints = append(hints, "near "+near)
	}
	switch {
	case strings.Contains(problem, "already"):
		hints = append(hints, "a key and a [table] are written once, a [[table]] once for each")
	case strings.Contains(problem, "quoted"), strings.Contains(problem, "keyword"), strings.Contains(problem, "start of value"):
		hints = append(hints, `strings are written in quotes: key = "…"`)
	}
	key := ""
	for _, part := range bad.Key() {
		key = join(key, part)
	}
	d.add(line, key, fmt.Sprintf("column %d: %s", column, problem), strings.Join(hints, "; "))
}

// excerpt returns what a line of the file sets, without the value: that may
// be a link, and who may read the journal need not be who may read the file.
func excerpt(src []byte, line int) string {
	for range line - 1 {
		_, src, _ = bytes.Cut(src, []byte("\n"))
	}
	text, _, _ := bytes.Cut(src, []byte("\n"))
	name, _, hasValue := strings.Cut(strings.TrimSpace(string(text)), "=")
	name = strings.TrimSpace(name)
	if !isBare(strings.Trim(strings.ReplaceAll(name, ".", ""), "[] ")) || len(name) > maxName {
		return ""
	}
	switch {
	case hasValue:
		return name + " = …"
	case strings.HasPrefix(name, "["):
		return name
	}
	return ""
}
