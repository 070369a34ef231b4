package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInclude(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, "etc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("../outside.toml", "[access.users]\na = \""+hexA+"\"")
	write("more/users.toml", "[access.users]\na = \""+hexA+"\"\n  include=b.toml")
	write("more/b.toml", "b = \""+hexB+"\"\n[access.user_enabled]\nb = false")
	write("loop.toml", "include = \"loop.toml\"")
	write("bad.toml", "a = [")
	write("large.toml", strings.Repeat("# much\n", maxForeign/7+1))
	if err := os.Mkdir(filepath.Join(dir, "etc", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	const fault = "got an error: "
	for _, tt := range []struct{ name, file, text, want string }{
		{"users", "t.toml", "include = \"more/users.toml\"\n[censorship]\ntls_domain = \"a.example\"", "telemt [ee] [443] [] a=0123@a.example b=fedc@a.example! lost 0"},
		{"none", "t.toml", "include = \"gone.toml\"", fault + "include = \"gone.toml\": "},
		{"outside", "t.toml", "include = \"../outside.toml\"", fault + "include = \"../outside.toml\": path escapes"},
		{"a folder", "t.toml", "include = \"folder\"", fault + "include = \"folder\": not a regular file; put its lines"},
		{"in one another", "t.toml", "include = \"loop.toml\"", fault + "include: more than 10 files"},
		{"large", "t.toml", "include = \"large.toml\"", fault + "include = \"large.toml\": more than 8 MiB in all"},
		{"a fault", "t.toml", "include = \"bad.toml\"", fault + "with the files that it includes in their places: line"},
		{"with the whole name", "t.toml", fmt.Sprintf("include = %q", filepath.ToSlash(filepath.Join(dir, "etc", "more", "users.toml"))), "telemt [ee] [443] [] a=0123@petrovich.ru b=fedc@petrovich.ru! lost 0"},
		{"another program", "config.py", "include = [1]\nUSERS = {'a': '" + hexA + "'}\nTLS_ONLY = True", "mtprotoproxy [ee] [3256] [] a=0123@www.google.com IPv6 lost 0"},
	} {
		path := write(tt.file, tt.text)
		f, err := readForeign(path)
		got := fmt.Sprintf("got an error: %s", strings.TrimPrefix(fmt.Sprint(err), path+": "))
		if err == nil {
			got = f.summary()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
