package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relay/relay/config"
	"relay/transport/browser"
)

const (
	// profilesFolder is where captured profiles are kept, in the state folder.
	profilesFolder = "profiles"
	profileSuffix  = ".json"
	// staleProfile is how old a profile may get: browsers change every four weeks,
	// and most people have the new one within two more.
	staleProfile = 60 * 24 * time.Hour
	// mostProfiles bounds what is read of the folder.
	mostProfiles = 100
)

// savedProfile is a profile and where it is from.
type savedProfile struct {
	*browser.Profile
	file string // empty: part of this program
}

// profiles are the one of this program and those of a state folder, newest first.
// A file that is no profile is in the error; the others are there all the same.
func profiles(state string) ([]savedProfile, error) {
	out := []savedProfile{{Profile: browser.Bundled()}}
	folder := filepath.Join(state, profilesFolder)
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("profiles: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	faults := []error{err}
	for _, e := range entries[:min(len(entries), mostProfiles)] {
		if !strings.HasSuffix(e.Name(), profileSuffix) || !e.Type().IsRegular() {
			continue
		}
		f, err := root.Open(e.Name())
		if err != nil {
			faults = append(faults, err)
			continue
		}
		p, err := browser.Read(f)
		_ = f.Close()
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", filepath.Join(folder, e.Name()), err))
			continue
		}
		out = append(out, savedProfile{p, filepath.Join(folder, e.Name())})
	}
	slices.SortStableFunc(out, func(a, b savedProfile) int { return strings.Compare(b.Captured, a.Captured) })
	return out, errors.Join(faults...)
}

// profileOf finds the profile that a word means: a file, or the name of one that
// this program or the state folder has. An empty word is the newest.
func profileOf(state, word string) (*browser.Profile, error) {
	if strings.ContainsAny(word, `/\`) || strings.HasSuffix(word, profileSuffix) {
		if info, err := os.Stat(word); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("profile: %s is no file", word) // opening a pipe would wait
		}
		f, err := os.Open(word)
		if err != nil {
			return nil, fmt.Errorf("profile: %w", err)
		}
		defer f.Close()
		p, err := browser.Read(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		return p, nil
	}
	list, err := profiles(state)
	if err != nil && word != "" {
		return nil, err
	}
	for _, p := range list {
		if word == "" || p.Name == word {
			return p.Profile, nil
		}
	}
	return nil, hinted{fmt.Errorf("there is no profile %q", word), "relay fingerprint list shows those there are; a file is named by its path."}
}

// flagProfile is what a flag names, as upstreams take it: a file, or the name of a profile
// that is part of this program. Empty is the newest. Profiles are captured into the folder
// of the other commands.
func flagProfile(word string) (string, error) {
	state := config.Default().State
	if _, err := profileOf(state, word); err != nil {
		return "", usageError{fmt.Errorf("--profile: %w", err)}
	}
	if all, err := profiles(state); err == nil {
		for _, p := range all {
			if (word == "" || p.Name == word) && p.file != "" {
				return p.file, nil
			}
			if word == "" {
				break
			}
		}
	}
	return word, nil
}

// profileFindings warns when the newest profile is of a browser that people do not
// have any more.
func profileFindings(state string, now time.Time) []finding {
	list, err := profiles(state)
	var out []finding
	if err != nil {
		out = append(out, finding(err.Error()))
	}
	if age := list[0].Age(now); age > staleProfile {
		out = append(out, finding(fmt.Sprintf("the newest browser profile, %s, is %d days old: links to other relays would look like a browser that few people still have; capture a new one with relay fingerprint capture, or take a newer relay", list[0].Name, days(age))))
	}
	return out
}

func days(d time.Duration) int { return int(d / (24 * time.Hour)) }
