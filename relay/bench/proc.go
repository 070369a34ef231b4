package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that Go
// runs on.
const tick = 10 * time.Millisecond

// processTimes is what /proc/PID/stat says about a process (proc(5)).
type processTimes struct {
	parent int
	own    time.Duration // user and system time of all its threads
	reaped time.Duration // of the children that it has waited for
}

// parseStat reads the content of /proc/PID/stat. The name of the program
// stands in parentheses and may hold spaces and parentheses itself.
func parseStat(b []byte) (processTimes, error) {
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return processTimes{}, fmt.Errorf("parse stat: got %q, want a name in parentheses", b)
	}
	// The first field here is field 3 of proc(5).
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 15 {
		return processTimes{}, fmt.Errorf("parse stat: got %d fields after the name, want at least 15", len(fields))
	}
	var n [5]int64
	for i, f := range append(fields[1:2:2], fields[11:15]...) {
		var err error
		if n[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return processTimes{}, fmt.Errorf("parse stat: %w", err)
		}
	}
	return processTimes{
		parent: int(n[0]),
		own:    time.Duration(n[1]+n[2]) * tick,
		reaped: time.Duration(n[3]+n[4]) * tick,
	}, nil
}

func readTimes(pid int) (processTimes, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processTimes{}, err
	}
	return parseStat(b)
}

// tree returns the times of pid and of every living process below it.
func tree(pid int) (map[int]processTimes, error) {
	root, err := readTimes(pid)
	if err != nil {
		return nil, fmt.Errorf("proxy process %d: %w", pid, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]processTimes{}
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			if t, err := readTimes(n); err == nil { // others may end at any time
				all[n] = t
			}
		}
	}
	found := map[int]processTimes{pid: root}
	for grown := true; grown; {
		grown = false
		for n, t := range all {
			_, below := found[t.parent]
			if _, known := found[n]; below && !known {
				found[n] = t
				grown = true
			}
		}
	}
	return found, nil
}

// meter reads what the proxy and the load generator have used so far.
type meter struct {
	proxy int // process id; 0 for none
	sink  int // process id; 0 if the sink is a part of this process
}

// usage is CPU time: of the proxy, and of this process and the sink together.
type usage struct{ proxy, load time.Duration }

func (m meter) read() (usage, error) {
	var u usage
	own, err := readTimes(os.Getpid())
	if err != nil {
		return u, err
	}
	u.load = own.own
	if m.sink != 0 {
		sink, err := readTimes(m.sink)
		if err != nil {
			return u, fmt.Errorf("sink process: %w", err)
		}
		u.load += sink.own
	}
	if m.proxy != 0 {
		processes, err := tree(m.proxy)
		if err != nil {
			return u, err
		}
		for _, t := range processes {
			u.proxy += t.own + t.reaped
		}
	}
	return u, nil
}

// since returns what was used after before.
func (m meter) since(before usage) (usage, error) {
	now, err := m.read()
	used := usage{now.proxy - before.proxy, now.load - before.load}
	if err == nil && used.proxy < 0 {
		// A child that ended without being waited for takes its time with it.
		err = errors.New("the proxy's CPU time went backwards: a process of it ended during the measurement")
	}
	return used, err
}

// holdings is what a process and those below it hold.
type holdings struct {
	resident    int64 // bytes; pages that processes share count once for each
	descriptors int
}

// readHoldings returns what the process pid and those below it hold now.
func readHoldings(pid int) (holdings, error) {
	processes, err := tree(pid)
	if err != nil {
		return holdings{}, err
	}
	var h holdings
	for n := range processes {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n))
		if err != nil {
			return h, err
		}
		fields := strings.Fields(string(b))
		if len(fields) < 2 {
			return h, fmt.Errorf("parse statm: got %q, want at least 2 numbers", b)
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return h, fmt.Errorf("parse statm: %w", err)
		}
		h.resident += pages * int64(os.Getpagesize())
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n))
		if err != nil {
			return h, err
		}
		h.descriptors += len(open)
	}
	return h, nil
}
