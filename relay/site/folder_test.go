package site

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFolderLinks has links of all kinds. Those that lead out of the folder are
// the one difference from Caddy, which follows them.
func TestFolderLinks(t *testing.T) {
	outside := writeFolder(t, map[string]string{"secret": "secret\n", "dir/secret": "secret\n"})
	dir := writeFolder(t, map[string]string{"index.html": "page\n", "sub/file": "file\n"})
	for link, to := range map[string]string{
		"in": "sub/file", "sub/up": "../index.html", "folder": "sub", "out": filepath.Join(outside, "secret"), "outfolder": outside,
		"up": "../" + filepath.Base(outside) + "/secret", "absolute": filepath.Join(dir, "index.html"), "loop": "loop", "gone": "nowhere", "sub/index.html": filepath.Join(outside, "secret"),
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, Options{Folder: dir})
	for path, want := range map[string]int{
		"/in": 200, "/sub/up": 200, "/folder/file": 200, "/out": 404, "/outfolder/secret": 404, "/outfolder/": 404, "/outfolder/dir/secret": 404,
		"/up": 404, "/absolute": 404, "/loop": 400, "/gone": 404, "/sub/": 404,
	} {
		if got := status(t, s, path); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

func TestFolderStatus(t *testing.T) {
	dir := writeFolder(t, map[string]string{"index.html": "page\n", "file": "", "dir/index.txt": "x", "empty/.keep": "", "odd/index.html/x": ""})
	s := newSite(t, Options{Folder: dir})
	room := pathMax - len(dir) - len("/") - 1 // the longest path that the kernel takes
	deep := strings.Repeat("d/", pathMax)
	for path, want := range map[string]int{
		"/": 200, "/file": 200, "/file/": 308, "/dir": 308, "/dir/": 200, "/empty": 404, "/empty/": 404, "/odd/": 404, "/file/x": 400,
		"/%00": 400, "/../file": 200, "/%2e%2e/%2e%2e/etc/passwd": 404, "/" + strings.Repeat("n", 255): 404, "/" + strings.Repeat("n", 256): 400,
		"/" + deep[:room&^1-1]: 404, "/" + deep[:room+1|1]: 400, "//file": 200, "/.keep": 404, "/empty/.keep": 200,
	} {
		if got := status(t, s, path); got != want {
			t.Errorf("%s (%d bytes): got %d, want %d", path[:min(len(path), 40)], len(path), got, want)
		}
	}
}

func TestEntityTag(t *testing.T) {
	file := filepath.Join(writeFolder(t, map[string]string{"x": strings.Repeat("x", 40)}), "x")
	for when, want := range map[time.Time]string{
		time.Unix(0, 5): "", time.Unix(1, 0): "", time.Unix(2, 0): `"x2qxvk14"`, time.Unix(1_700_000_000, 123456789): `"cwyvpeni7w9h14"`,
	} {
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := entityTag(info); got != want {
			t.Errorf("%v: got %s, want %s", when, got, want)
		}
	}
}

func TestOpenStatus(t *testing.T) {
	for _, test := range []struct {
		err   error
		want  int
		retry bool
	}{
		{&os.PathError{Err: os.ErrNotExist}, 404, false},
		{&os.PathError{Err: os.ErrPermission}, 403, false},
		{&os.PathError{Err: syscall.EMFILE}, 503, true},
	} {
		h := make(http.Header)
		if got := openStatus(h, test.err); got != test.want || (h.Get("Retry-After") != "") != test.retry {
			t.Errorf("%v: got %d with %v, want %d", test.err, got, h, test.want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, path := range []string{"", "/", "..", "/../../etc/passwd", "//x//", "/a/./b/", "\\..\\x", "/\x00", "C:/x", "/..x/"} {
		f.Add(path)
	}
	root := writeFolder(f, map[string]string{"in/file": "x"})
	folder, err := openFolder(filepath.Join(root, "in"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(folder.close)
	f.Fuzz(func(t *testing.T, path string) {
		name := fileName(path)
		if !filepath.IsLocal(name) || strings.HasSuffix(name, "/") {
			t.Fatalf("%q: got %q, want a path within the folder", path, name)
		}
		if _, err := folder.stat(name); err != nil {
			switch got := statStatus(err); got {
			case 400, 403, 404:
			default:
				t.Errorf("%q: got %d, want 400, 403 or 404", path, got)
			}
		}
	})
}
