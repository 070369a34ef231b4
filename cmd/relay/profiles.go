package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relay/transport/browser"
)

// profileFolder is in the state folder, and has the profiles of browsers.
const profileFolder = "profiles"

// findProfile returns a browser's profile: that of a file, that of a name, or the
// newest there is.
func findProfile(state, which string) (*browser.Profile, error) {
	if strings.ContainsAny(which, `/\`) || strings.HasSuffix(which, ".json") {
		return readProfile(which)
	}
	all := []*browser.Profile{browser.Bundled()}
	if state != "" {
		files, err := filepath.Glob(filepath.Join(state, profileFolder, "*.json"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			p, err := readProfile(file)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	if which == "" {
		return slices.MaxFunc(all, func(a, b *browser.Profile) int { return cmp.Compare(a.Captured, b.Captured) }), nil
	}
	var names []string
	for _, p := range all {
		if p.Name == which {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return nil, hinted{fmt.Errorf("there is no profile %q", which), "There are: " + strings.Join(names, ", ") + ". Make one with: relay fingerprint capture"}
}

func readProfile(file string) (*browser.Profile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := browser.Read(f)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", file, err)
	}
	return p, nil
}
