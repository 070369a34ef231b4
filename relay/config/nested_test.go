package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// way and spot are arrays of tables in a table of an array.
type way struct {
	Link   secret `toml:"link"`
	Places []spot `toml:"place"`
}

type spot struct {
	Connect []string `toml:"connect"`
	Name    *string  `toml:"name"` // nil: not written
	Path    secret   `toml:"path"`
	Who     choice   `toml:"who"`
}

// choice is written as a word, a table or an array of them.
type choice struct{ v any }

func (c *choice) UnmarshalTOML(v any) error {
	if v == "bad" {
		return fmt.Errorf("%v is no choice", v)
	}
	c.v = v
	return nil
}

func (c *choice) MarshalTOML() any { return c.v }

func (w *way) Check(fault func(key, problem, hint string)) {
	for i, p := range w.Places {
		if len(p.Connect) == 0 {
			fault(fmt.Sprintf("place[%d]", i), "leads nowhere", "")
		}
		for j, c := range p.Connect {
			if c == "bad" {
				fault(fmt.Sprintf("place[%d].connect[%d]", i, j), "no place", "")
			}
		}
	}
}

const nested = `[[way]]
link = "vless://one"

[[way.place]]
connect = ["a", "b"]
name = ""
path = "vless://x"
who = "system"

[[way.place]]
connect = ["c"]
[way.place.who]
"a.example" = ["192.0.2.1"]

[[way]]
link = "vless://two"
[[way.place]]
connect = ["d"]
who = ["system", { x = ["y"] }]
`

func TestNested(t *testing.T) {
	var ways []way
	tabs := []Table{{Name: "way", Options: &ways}}
	c, faults := Parse("r", []byte(nested), nil, tabs)
	if faults != nil {
		t.Fatal(faults)
	}
	if len(ways) != 2 || len(ways[0].Places) != 2 || len(ways[1].Places) != 1 {
		t.Fatalf("got %+v, want two ways with two places and one", ways)
	}
	first, second := ways[0].Places[0], ways[0].Places[1]
	if first.Name == nil || *first.Name != "" || second.Name != nil {
		t.Errorf("got names %v and %v, want an empty one and none", first.Name, second.Name)
	}
	if first.Path != "vless://x" || ways[1].Places[0].Connect[0] != "d" {
		t.Errorf("got %+v, want every place in its way", ways)
	}
	var b bytes.Buffer
	if err := c.Write(&b, tabs); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "vless://") {
		t.Errorf("got a secret in:\n%s", b.String())
	}
	var back []way
	text := strings.ReplaceAll(strings.ReplaceAll(b.String(), `link = "[secret]"`, `link = "vless://one"`), `path = "[secret]"`, `path = "vless://x"`)
	if _, faults := Parse("r", []byte(text), nil, []Table{{Name: "way", Options: &back}}); faults != nil {
		t.Fatalf("%v in:\n%s", faults, text)
	}
	for i := range back {
		back[i].Link = ways[i].Link
		for j := range back[i].Places {
			back[i].Places[j].Path = ways[i].Places[j].Path
		}
	}
	if !reflect.DeepEqual(back, ways) {
		t.Errorf("got %+v, want %+v from:\n%s", back, ways, text)
	}
}

func TestNestedFaults(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key", `path = "vless://x"`, `pth = "vless://x"`, `r:7: way[0].place[0].pth: unknown key (did you mean "path"?)`},
		{"secret", `path = "vless://x"`, `path = "hunter2"`, `r:7: way[0].place[0].path: [secret] is not a link`},
		{"kind", `connect = ["c"]`, "connect = 5", `r:11: way[0].place[1].connect: want an array of strings, got an integer`},
		{"element", `connect = ["d"]`, `connect = [5]`, `r:18: way[1].place[0].connect[0]: want a string, got an integer`},
		{"check", `connect = ["d"]`, "connect = ['d',\n'bad']", `r:19: way[1].place[0].connect[1]: no place`},
		{"check of a table", `connect = ["c"]`, ``, `r:10: way[0].place[1]: leads nowhere`},
		{"choice", `who = "system"`, `who = "bad"`, `r:8: way[0].place[0].who: bad is no choice`},
		{"one bracket", "[[way]]\nlink = \"vless://two\"\n[[way.place]]", "[[way]]\nlink = \"vless://two\"\n[way.place]", `r:17: way[1].place: want an array of tables, got a table (write [[way.place]], with two brackets, above what belongs to it)`},
	} {
		src := strings.Replace(nested, tt.old, tt.new, 1)
		if src == nested {
			t.Fatalf("%s: %q is not in the file", tt.name, tt.old)
		}
		var ways []way
		_, faults := Parse("r", []byte(src), nil, []Table{{Name: "way", Options: &ways}})
		if got := faults.Error(); !strings.HasPrefix(got, tt.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: got %s, want one fault %s", tt.name, got, tt.want)
		}
	}
}
