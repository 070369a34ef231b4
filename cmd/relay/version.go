package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{}

// Help is shown below the usage.
func (*versionCmd) Help() string {
	return `Example:
  relay version`
}

// Run prints the version.
func (*versionCmd) Run(s streams) error {
	_, err := fmt.Fprintf(s.out, "relay %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// release is set by the linker when a release is built.
var release string

// version is the release, or the commit that the build knows of.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	if len(commit) >= 12 {
		return "devel-" + commit[:12] + dirty
	}
	return "devel"
}
