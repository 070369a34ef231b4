package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxIncludes bounds how deep files include others, as telemt does.
const maxIncludes = 10

// includer puts files in the place of telemt's include lines (its
// config/load/includes.rs). They are named by the configuration, so that only
// regular files in its folder are read.
type includer struct {
	root *os.Root
	left int // bytes that may be read
}

// withIncludes is the text of a file with those that it includes, and whether
// there are any.
func withIncludes(file string, b []byte) ([]byte, bool, error) {
	lines := strings.Split(string(b), "\n")
	if assignsUsers(string(b)) || !slices.ContainsFunc(lines, func(l string) bool { _, ok := includes(l); return ok }) {
		return b, false, nil // a program may say include = … for itself
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	in := includer{root: root, left: maxForeign}
	text, err := in.expand(string(b), ".", 0)
	return []byte(text), true, err
}

// expand replaces the include lines of a text whose names start from dir.
func (in *includer) expand(text, dir string, depth int) (string, error) {
	if depth > maxIncludes {
		return "", fmt.Errorf("include: more than %d files in one another", maxIncludes)
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		name, ok := includes(line)
		if !ok {
			out.WriteString(line)
			continue
		}
		full := path.Join(dir, filepath.ToSlash(name))
		if filepath.IsAbs(name) {
			full = in.relative(name)
		}
		b, err := in.read(full)
		if err == nil {
			text, err = in.expand(strings.TrimPrefix(string(b), "\ufeff"), path.Dir(full), depth+1)
		}
		if err != nil {
			return "", err
		}
		out.WriteString(text + "\n")
	}
	return out.String(), nil
}

// relative is an absolute name from the folder, where it is in there.
func (in *includer) relative(name string) string {
	if rel, err := filepath.Rel(in.root.Name(), name); err == nil {
		return filepath.ToSlash(rel)
	}
	return name
}

// includes is the file that a line names. telemt wants no quotation marks.
func includes(line string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "include")
	rest, assigned := strings.CutPrefix(strings.TrimSpace(rest), "=")
	return strings.Trim(strings.TrimSpace(rest), `"`), ok && assigned
}

// read reads a file that is included. What it is, is asked first: to open a
// pipe is to wait.
func (in *includer) read(name string) ([]byte, error) {
	fault := func(err error) ([]byte, error) {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, fmt.Errorf("include = %q: %w; put its lines in the place of this one, in a copy of the file", name, err)
	}
	info, err := in.root.Stat(name)
	if err != nil {
		return fault(err)
	}
	if !info.Mode().IsRegular() {
		return fault(errors.New("not a regular file"))
	}
	f, err := in.root.Open(name)
	if err != nil {
		return fault(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(in.left)+1))
	if err == nil && len(b) > in.left {
		err = fmt.Errorf("more than %d MiB in all", maxForeign>>20)
	}
	if err != nil {
		return fault(err)
	}
	in.left -= len(b)
	return b, nil
}
