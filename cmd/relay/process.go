package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
)

// residentBytes is the memory that the process occupies: as Linux counts it,
// elsewhere what the runtime has from the system.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if f := bytes.Fields(b); err == nil && len(f) > 1 {
		if pages, err := strconv.ParseInt(string(f[1]), 10, 64); err == nil {
			return pages * int64(os.Getpagesize())
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// openDescriptors is how many descriptors the process has open; 0 where the
// system does not tell.
func openDescriptors() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(d) - 1 // without the one that read the folder
}
