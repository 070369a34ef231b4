package main

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// Links arrive with what editors and messengers put around them.
func TestReadLinks(t *testing.T) {
	const link = "vless://b831381d-6324-4d53-ad4f-8cda48b30811@192.0.2.1:443?type=xhttp&security=tls&path=%2Fp%2F#a"
	for _, tt := range []struct{ name, around string }{
		{"nothing", "%"},
		{"spaces", "\t % \r"},
		{"a byte order mark", "\ufeff%"},
		{"a mark of direction", "\u200f%\u200e"},
		{"an isolate", "\u2068%\u2069"},
		{"a zero-width space", "\u200b%"},
		{"quotation marks", "«%»"},
		{"others", "“%”"},
		{"those of a shell", "'%'"},
		{"those of code", "`%`"},
		{"angle brackets", "<%>"},
		{"single ones", "‹%›"},
		{"all of it", "\ufeff \u200f\"<%>\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(tt.around, "%", link, 1)
			file := filepath.Join(t.TempDir(), "links.txt")
			if err := os.WriteFile(file, []byte(text+"\n"+"\ufeff# a comment\n\u200e\n"+text), 0o600); err != nil {
				t.Fatal(err)
			}
			links, err := readLinks([]string{"@" + file}, nil)
			if err != nil || len(links) != 2 || !slices.Equal(links, []string{link, link}) {
				t.Errorf("links of a file: got %q, %v, want the link twice", links, err)
			}
			if o, err := linkOptions([]string{text}, "system", "", io.Discard); err != nil || len(o) != 1 {
				t.Errorf("a link as an argument: got %v, want no error", err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, _, err := (&upstreamOptions{LinkFile: file}).text()
			if err != nil || string(got) != link {
				t.Errorf("link_file: got %q, %v, want the link", string(got), err)
			}
		})
	}
}

// Windows' editors and shells write files in UTF-16, with a byte order mark.
func TestReadLinksUTF16(t *testing.T) {
	const link = "vless://b831381d-6324-4d53-ad4f-8cda48b30811@192.0.2.1:443?type=xhttp&security=tls&path=%2Fp%2F#ż"
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		var b []byte
		for _, unit := range utf16.Encode([]rune("\ufeff" + link + "\r\n")) {
			b = order.AppendUint16(b, unit)
		}
		file := filepath.Join(t.TempDir(), "links.txt")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if links, err := readLinks([]string{"@" + file}, nil); err != nil || !slices.Equal(links, []string{link}) {
			t.Errorf("%v: links of a file: got %q, %v, want the link", order, links, err)
		}
		if got, _, err := (&upstreamOptions{LinkFile: file}).text(); err != nil || string(got) != link {
			t.Errorf("%v: link_file: got %q, %v, want the link", order, string(got), err)
		}
	}
}
