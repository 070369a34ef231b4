package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDiskFull runs in processes of their own: one with a limit on the size of
// files, which stops the writes in the middle of a transaction, and one with a
// small disk, mounted where nobody else sees it.
func TestDiskFull(t *testing.T) {
	for _, how := range []string{"limit", "disk"} {
		t.Run(how, func(t *testing.T) {
			c := helper(t, "full", how, t.TempDir())
			if how == "disk" {
				c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
				if uid := os.Getuid(); uid != 0 {
					c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
					c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
					c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
				}
			}
			if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("got %v, want none:\n%s", err, out)
			}
		})
	}
}

// fullDisk is the process of TestDiskFull; what it prints is wrong.
func fullDisk(args []string) error {
	how, dir := args[0], args[1]
	if how == "disk" {
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
	}
	s, err := OpenStore(dir)
	if err != nil {
		return err
	}
	var all []string
	for i := range 500 {
		all = append(all, fmt.Sprintf("user-%d", i))
	}
	rs := records(all...)
	if err := s.Add(rs...); err != nil {
		return err
	}
	var lines logLines
	u := NewUsers(s, slog.New(slog.NewTextHandler(&lines, nil)))
	u.stop()
	u.wg.Wait() // the tickers: keep is called here
	var ss []*Session
	move := func(n int) {
		for _, s := range ss {
			s.Moved(true, n)
		}
	}
	for _, r := range rs {
		s, err := u.Begin(User{ID: r.ID, Name: r.Name}, home, func(why error) { fmt.Println("cut:", why) })
		if err != nil {
			return err
		}
		ss = append(ss, s)
	}
	move(1)
	u.keep()
	if err := u.SaveError(); err != nil {
		return err
	}
	for round, size := range []int64{1, 3, 8, 20} { // where the writes stop, in pages
		free, err := fill(how, dir, size*4096)
		if err != nil {
			return err
		}
		for i := 0; how == "disk" && err == nil; i++ {
			// Free pages of the file can still be written: use them up.
			err = s.Add(&Record{Name: fmt.Sprintf("large-%d-%d", round, i), Key: NewKey(), Explicit: map[string]string{"http": strings.Repeat("x", 3000)}})
		}
		for range 5 {
			move(1000)
			u.keep()
		}
		checkFull(u, s, &lines, map[string]error{"limit": syscall.EFBIG, "disk": syscall.ENOSPC}[how], round)
		free()
		u.keep()
		if err := u.SaveError(); err != nil {
			fmt.Printf("round %d: room again: got %v, want it saved\n", round, err)
		}
		if got := strings.Count(lines.all(), "level=INFO"); got != round+1 {
			fmt.Printf("round %d: got %d lines that it works again, want %d\n", round, got, round+1)
		}
	}
	if err := errors.Join(u.Close(), s.Close()); err != nil {
		return err
	}
	if s, err = OpenStore(dir); err != nil { // checks every page
		return err
	}
	defer s.Close()
	for _, r := range rs {
		if u, err := s.Usage(r.ID); err != nil || u.Up != 20_001 || u.Days[dayOf(time.Now())] != 20_001 {
			fmt.Printf("%s: got %v, %v, want 20001 bytes\n", r.Name, u, err)
		}
	}
	return nil
}

// checkFull looks at Users while nothing can be written.
func checkFull(u *Users, s *Store, lines *logLines, want error, round int) {
	if err := u.SaveError(); !errors.Is(err, want) {
		fmt.Printf("round %d: got %v, want %v\n", round, err, want)
	}
	if got := strings.Count(lines.all(), "level=ERROR"); got != round+1 {
		fmt.Printf("round %d: got %d lines of trouble, want %d:\n%s", round, got, round+1, lines.all())
	}
	if err := s.Add(&Record{Name: "fresh", Key: NewKey(), Explicit: map[string]string{"http": strings.Repeat("x", 100<<10)}}); err == nil || !strings.Contains(err.Error(), want.Error()) || !errors.Is(err, ErrNotSaved) || errors.Is(err, ErrDamaged) {
		fmt.Printf("round %d: add: got %v, want %v\n", round, err, want)
	}
	if err := s.Add(&Record{Name: "user-1", Key: NewKey()}); !errors.Is(err, ErrUserExists) || errors.Is(err, ErrNotSaved) {
		fmt.Printf("round %d: add who is there: got %v, want %v and no word of the disk\n", round, err, ErrUserExists)
	}
	_, usage, err := u.Get("user-7")
	if want := int64(1 + 5000*(round+1)); err != nil || usage.Up != want {
		fmt.Printf("round %d: got %v, %v, want %d bytes in memory\n", round, usage, err, want)
	}
	if r, err := s.Get("user-8"); err != nil || r.ID == 0 {
		fmt.Printf("round %d: got %v, want it readable\n", round, err)
	}
}

// fill leaves no room and returns what gives it back.
func fill(how, dir string, size int64) (free func(), err error) {
	if how == "limit" {
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			return nil, err
		}
		now := old
		now.Cur = uint64(size)
		return func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old) }, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &now)
	}
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(b)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return nil, err
	}
	return func() { _ = os.Remove(path) }, nil
}

// TestCreateOnFullDisk leaves nothing behind that a later start would take
// for a damaged database.
func TestCreateOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	c := helper(t, "open", dir)
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `ulimit -f 8; exec "$0" "$1"`, c.Path, dir}
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), syscall.EFBIG.Error()) {
		t.Errorf("got %q, %v, want %v", out, err, syscall.EFBIG)
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) != 0 {
		t.Errorf("got %v, %v, want nothing left", es, err)
	}
	addTest(t, openTest(t, dir), "alice")
}
