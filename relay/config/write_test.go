package config

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRoundTrip(t *testing.T) {
	for _, src := range []string{"", full} {
		tabs := tables()[:1]
		src, _, _ := strings.Cut(src, "[[upstream]]")
		src = strings.ReplaceAll(src, `"mtproto"`, `"http"`)
		c, faults := Parse("r", []byte(src), inbounds, tabs)
		if faults != nil {
			t.Fatal(faults)
		}
		if src == "" {
			tabs = nil // its defaults alone do not pass its Check
		}
		var b bytes.Buffer
		if err := c.Write(&b, tabs); err != nil {
			t.Fatal(err)
		}
		again := tables()[:1]
		back, faults := Parse("r", b.Bytes(), inbounds, again)
		if faults != nil {
			t.Fatalf("%v in:\n%s", faults, b.Bytes())
		}
		normalize(c)
		normalize(back)
		if !reflect.DeepEqual(back, c) {
			t.Errorf("got %+v, want %+v from:\n%s", back, c, b.Bytes())
		}
		if tabs != nil && !reflect.DeepEqual(again, tabs) {
			t.Errorf("got %+v, want %+v from:\n%s", again[0].Options, tabs[0].Options, b.Bytes())
		}
	}
}

// normalize makes empty lists nil: TOML does not tell them apart.
func normalize(c *Config) {
	for _, list := range []*[]string{&c.Cover.Names, &c.Cover.ACME.CA, &c.Egress.Presets, &c.Egress.Allow, &c.Egress.Deny, &c.Egress.Source, &c.DNS.Servers, &c.Limits.Trusted} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	for i := range c.Listen {
		if len(c.Listen[i].Public) == 0 {
			c.Listen[i].Public = nil
		}
		if len(c.Listen[i].ProxyProtocol) == 0 {
			c.Listen[i].ProxyProtocol = nil
		}
	}
	if len(c.Listen) == 0 {
		c.Listen = nil
	}
}

func TestWriteHidesSecrets(t *testing.T) {
	var opts struct {
		Plain   secret            `toml:"plain"`
		Pointer *secret           `toml:"pointer"`
		Nil     *secret           `toml:"nil"`
		List    []secret          `toml:"list"`
		Map     map[string]secret `toml:"map"`
		Any     any               `toml:"any"`
		Inner   struct {
			S secret `toml:"s"`
		} `toml:"inner"`
		Hidden hidden `toml:"hidden"`
	}
	s := secret("hunter2")
	opts.Plain, opts.Pointer, opts.List, opts.Map = s, &s, []secret{s}, map[string]secret{"a b": s}
	opts.Any, opts.Inner.S, opts.Hidden = []any{s}, s, hidden{"hunter2"}
	var b bytes.Buffer
	if err := Default().Write(&b, []Table{{Name: "part", Options: &opts}, {Name: "parts", Options: &[]upstream{{Link: s}}}}); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "[part]\n")
	want := `plain = "[secret]"
pointer = "[secret]"
list = ["[secret]"]
map = { "a b" = "[secret]" }
any = ["[secret]"]
inner = { s = "[secret]" }
hidden = "1 key"

[[parts]]
link = "[secret]"
via = ""
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// hidden tells something about itself, by a pointer receiver.
type hidden struct {
	Key string `toml:"key"`
}

func (h *hidden) LogValue() slog.Value { return slog.StringValue("1 key") }

func TestWriteKinds(t *testing.T) {
	opts := struct {
		Text  netip.Prefix      `toml:"text"`
		Empty netip.Addr        `toml:"empty"`
		Time  time.Time         `toml:"time"`
		U     uint8             `toml:"u"`
		F     float64           `toml:"f"`
		IntKs map[int]bool      `toml:"int_keys"`
		Map   map[string]string `toml:"map"`
		Skip  string            `toml:"-"`
	}{
		Text: netip.MustParsePrefix("10.0.0.0/8"), Time: time.Unix(0, 5).UTC(), U: 7, F: 1e21,
		IntKs: map[int]bool{2: true}, Map: map[string]string{"\x7f\n": "\xff\x00"},
	}
	back := opts
	back.U = 0
	var b bytes.Buffer
	if err := Default().Write(&b, []Table{{Name: "part", Options: &opts}}); err != nil {
		t.Fatal(err)
	}
	if _, faults := Parse("r", b.Bytes(), nil, []Table{{Name: "part", Options: &back}}); faults != nil {
		t.Fatalf("%v in:\n%s", faults, b.Bytes())
	}
	opts.Map["\x7f\n"] = "\ufffd\x00"
	if !reflect.DeepEqual(back, opts) {
		t.Errorf("got %+v, want %+v from:\n%s", back, opts, b.Bytes())
	}
}

func TestWriteErrors(t *testing.T) {
	for _, bad := range []any{nil, front{}, &struct {
		C chan int `toml:"c"`
	}{}} {
		if err := Default().Write(&bytes.Buffer{}, []Table{{Name: "part", Options: bad}}); err == nil {
			t.Errorf("%T: got no error", bad)
		}
	}
	if err := Default().Write(broken{}, nil); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 48 * time.Hour: "48h",
		time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s", 100 * time.Second: "1m40s", 20 * time.Hour: "20h",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
		if back, err := parseDuration(want); err != nil || back != d {
			t.Errorf("%s: got %v, %v, want %v", want, back, err, d)
		}
	}
}
