package config

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzParse checks that nothing panics, that every fault lies in the file and
// is one line, and that what is accepted is accepted again when written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		full, "", "[listen]", "[[listen]]", "a.b.c=1", "listen=[{},[],1]", "\ufeffstate=''", "[front]\ncertificate={key=1}",
		"front.dcs.\"\\n\".x=[[[]]]", "[[upstream]]\nlink=5", "x=\"\"\"\n", "log={level=\"debug\"}", "state=1979-05-27", "a=[\n", "\r\n[", "limits.idle_timeout='1d-1h'",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		tabs := tables()
		c, faults := Parse("r", src, inbounds, tabs)
		last := 1 + bytes.Count(src, []byte("\n"))
		before := 0
		for _, fault := range faults {
			if fault.Line < 0 || fault.Line > last {
				t.Errorf("got line %d of %d: %s", fault.Line, last, fault)
			}
			if strings.ContainsAny(fault.String(), "\n\r") || fault.Problem == "" {
				t.Errorf("got %q, want one line", fault.String())
			}
			if fault.Line < before && fault.Line != 0 {
				t.Errorf("got line %d after %d", fault.Line, before)
			}
			before = fault.Line
		}
		if c == nil {
			return
		}
		var b bytes.Buffer
		if err := c.Write(&b, nil); err != nil {
			t.Fatal(err)
		}
		if _, faults := Parse("r", b.Bytes(), inbounds, nil); faults != nil {
			t.Errorf("%v in what was written:\n%s", faults, b.Bytes())
		}
	})
}
