package site

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// folder answers with files, as Caddy's file_server does.
type folder struct {
	root *os.Root
	path string // absolute, for its length alone
}

func openFolder(name string) (*folder, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", name, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("folder of the site's files: %w", err)
	}
	return &folder{root: root, path: abs}, nil
}

func (f *folder) close() { _ = f.root.Close() }

// indexes are the files that stand for the folder that they are in.
var indexes = []string{"index.html", "index.txt"}

func (f *folder) answer(w http.ResponseWriter, r *http.Request, room bool) (status int) {
	name := fileName(r.URL.Path)
	info, err := f.stat(name)
	if err != nil {
		return statStatus(err)
	}
	index := false
	if info.IsDir() {
		for _, i := range indexes {
			in := path.Join(name, i)
			if found, err := f.stat(in); err == nil {
				name, info, index = in, found, true
				break
			}
		}
	}
	if info.IsDir() {
		return http.StatusNotFound
	}
	// The path of a folder ends in a slash, that of a file does not.
	switch slash := strings.HasSuffix(r.URL.Path, "/"); {
	case index && !slash:
		moveTo(w, r, r.URL.Path+"/")
		return 0
	case !index && slash:
		moveTo(w, r, strings.TrimSuffix(r.URL.Path, "/"))
		return 0
	}
	return f.serve(w, r, name, info, room)
}

// serve answers with a file. The order in which headers are set and errors are
// found shows in the answers, and is Caddy's.
func (f *folder) serve(w http.ResponseWriter, r *http.Request, name string, info fs.FileInfo, room bool) (status int) {
	h := w.Header()
	h["Vary"] = []string{"Accept-Encoding"}
	if !room {
		return openStatus(h, syscall.EMFILE)
	}
	file, err := f.root.Open(filepath.FromSlash(name))
	if err != nil {
		return openStatus(h, err)
	}
	defer file.Close()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h["Allow"] = []string{"GET, HEAD"}
		return http.StatusMethodNotAllowed
	}
	if tag := entityTag(info); tag != "" {
		h["Etag"] = []string{tag}
	}
	// No type rather than a guess from the content.
	h["Content-Type"] = nil
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		h["Content-Type"] = []string{t}
	}
	http.ServeContent(w, r, info.Name(), info.ModTime(), file)
	return 0
}

// pathMax is Linux's limit for a path, with the zero byte behind it.
const pathMax = 4096

// stat follows links within the folder.
func (f *folder) stat(name string) (fs.FileInfo, error) {
	if len(f.path)+len("/")+len(name) >= pathMax {
		// os.Root walks; the kernel, given the whole path, would refuse it.
		return nil, &fs.PathError{Op: "stat", Path: name, Err: syscall.ENAMETOOLONG}
	}
	return f.root.Stat(filepath.FromSlash(name))
}

// fileName is the file that the path of a URL is about, "." for the folder.
func fileName(urlPath string) string {
	name := path.Clean("/" + urlPath)[1:]
	if name == "" || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "."
	}
	return name
}

// statStatus is the status for a file that cannot be looked at. A file as if it
// were a folder, a zero byte, a loop of links: all of them are bad requests.
func statStatus(err error) int {
	if errors.Is(err, fs.ErrPermission) {
		return http.StatusForbidden
	}
	// What the system did not say, os.Root did: the path leaves the folder.
	if _, system := errors.AsType[syscall.Errno](err); !system || errors.Is(err, fs.ErrNotExist) {
		return http.StatusNotFound
	}
	return http.StatusBadRequest
}

// openStatus is the status for a file that is there and cannot be opened: the
// server may have run out of descriptors, and asks to come back.
func openStatus(h http.Header, err error) int {
	if errors.Is(err, fs.ErrPermission) {
		return http.StatusForbidden
	}
	if _, system := errors.AsType[syscall.Errno](err); !system || errors.Is(err, fs.ErrNotExist) {
		return http.StatusNotFound
	}
	h["Retry-After"] = []string{strconv.Itoa(2 + rand.IntN(3))}
	return http.StatusServiceUnavailable
}

// entityTag is made from the time and the size of a file, in base 36. Times that
// archives are unpacked with when they have none make no tag.
func entityTag(info fs.FileInfo) string {
	t := info.ModTime()
	if s := t.Unix(); s == 0 || s == 1 {
		return ""
	}
	return `"` + strconv.FormatInt(t.UnixNano(), 36) + strconv.FormatInt(info.Size(), 36) + `"`
}

// moveTo redirects to a path of this site, with the query.
func moveTo(w http.ResponseWriter, r *http.Request, to string) {
	// Two slashes would begin the name of another site.
	for strings.HasPrefix(to, "//") {
		to = to[1:]
	}
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, to, http.StatusPermanentRedirect)
}
