package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"relay/auth"
)

// hellosFile keeps in the state folder, from one process to the next, the hellos that
// were accepted and whose second is not over.
const (
	hellosFile = "hellos.json"
	mostHellos = 32 << 20 // bytes of it: each of auth.DefaultReplays on its own
)

// hellosOf is the memory of hellos of a relay that starts. It takes up what the one
// before has left; a file that is broken is as good as none. The file stays until the
// end, as what it says is still true if this process is killed.
func hellosOf(e env) *auth.Replays {
	r, file := auth.NewReplays(time.Now(), 0), filepath.Join(e.cfg.State, hellosFile)
	saved, err := readHellos(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r
	case err == nil:
		err = r.Restore(saved)
	}
	if err != nil {
		e.log.Warn("what the relay before has left about hellos is not used: one of a client whose clock runs ahead could be replayed once", "file", file, "error", err)
	} else if from := time.Unix(saved.From, 0); time.Until(from) > time.Second {
		e.log.Warn("the clock was ahead when the relay ended: until it is there again, clients are shown the cover", "until", from.UTC().Format(time.DateTime))
	} else if len(r.Save(time.Now()).Seconds) == 0 {
		e.log.Debug("what the relay before has left about hellos is too old to count", "file", file)
		_ = os.Remove(file)
	}
	return r
}

func readHellos(file string) (s auth.SavedReplays, err error) {
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file") // a pipe would have us wait for a writer
	}
	if err != nil {
		return s, err
	}
	f, err := os.Open(file)
	if err != nil {
		return s, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostHellos+1))
	if err == nil && len(b) > mostHellos {
		err = fmt.Errorf("more than %d bytes", mostHellos)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// mtprotoEnd leaves the hellos that could be replayed to the next process. Mostly
// there are none: then there is no file.
func mtprotoEnd(kept any, state string, log *slog.Logger) {
	file := filepath.Join(state, hellosFile)
	saved := kept.(*mtprotoKeep).hellos.Save(time.Now())
	if len(saved.Seconds) == 0 {
		_ = os.Remove(file)
		return
	}
	b, err := json.Marshal(saved)
	if err == nil {
		err = writeFile(file, b)
	}
	if err != nil {
		log.Warn("hellos cannot be kept: one of a client whose clock runs ahead could be replayed once", "error", err)
	}
}
