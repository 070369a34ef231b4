package upstream

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Memory is how well ways did on which network, in a file. Whoever takes the file
// learns neither networks nor ways: both stand there as hashes under a key that is in
// it, so a guess can be tried, but there is nothing to read.
type Memory struct {
	path    string
	network func() string // of the moment; empty: none is known

	mu   sync.Mutex
	data remembered
}

// remembered is the file.
type remembered struct {
	Key      string                       `json:"key"`
	Networks map[string]map[string]record `json:"networks"` // network, way
}

const (
	mostNetworks = 16
	mostRemember = 64 // ways of a network
	mostFile     = 256 << 10
	// staleTime is for how long a record means something.
	staleTime = 30 * 24 * time.Hour
	// sameTime is within which a record is not written again unless its score has
	// changed by more than sameScore.
	sameTime  = 10 * time.Minute
	sameScore = 0.1
)

// OpenMemory reads the file at path, or begins anew if there is none that can be
// read: what it says is worth a few seconds, not an error.
func OpenMemory(path string, network func() string) *Memory {
	m := &Memory{path: path, network: network}
	if m.read() != nil {
		var key [sha256.Size]byte
		_, _ = rand.Read(key[:]) // never fails (crypto/rand)
		m.data = remembered{Key: hex.EncodeToString(key[:])}
	}
	if m.data.Networks == nil {
		m.data.Networks = map[string]map[string]record{}
	}
	return m
}

// errMemory says that a file is not one of ours.
var errMemory = errors.New("not what was remembered")

// read reads the file, and leaves out what cannot be.
func (m *Memory) read() error {
	info, err := os.Stat(m.path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > mostFile {
		return errMemory
	}
	b, err := os.ReadFile(m.path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &m.data); err != nil {
		return err
	}
	if k, err := hex.DecodeString(m.data.Key); err != nil || len(k) != sha256.Size {
		return errMemory
	}
	now := time.Now()
	for name, ways := range m.data.Networks {
		maps.DeleteFunc(ways, func(_ string, r record) bool { return r.At.After(now) || now.Sub(r.At) >= staleTime })
		if len(ways) == 0 {
			delete(m.data.Networks, name)
		}
		forget(ways, mostRemember, func(r record) time.Time { return r.At })
	}
	forget(m.data.Networks, mostNetworks, newest)
	return nil
}

// known is the record of a way on a network; zero: there is none, or it is old.
func (m *Memory) known(network, way string) record {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.data.Networks[m.hash(network)][m.hash(way)]
	if age := time.Since(r.At); age < 0 || age >= staleTime {
		return record{}
	}
	return r
}

// note keeps a record.
func (m *Memory) note(network, way string, r record) {
	if network == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, w := m.hash(network), m.hash(way)
	ways := m.data.Networks[n]
	if ways == nil {
		ways = map[string]record{}
		m.data.Networks[n] = ways
	}
	old := ways[w]
	if age := r.At.Sub(old.At); age >= 0 && age < sameTime && math.Abs(r.Score-old.Score) < sameScore {
		return
	}
	ways[w] = record{math.Round(r.Score*100) / 100, r.At.Truncate(time.Minute).UTC()}
	forget(ways, mostRemember, func(r record) time.Time { return r.At })
	forget(m.data.Networks, mostNetworks, newest)
	_ = m.write() // a later record tries again
}

// newest is when a network was in use last.
func newest(ways map[string]record) (last time.Time) {
	for _, r := range ways {
		if r.At.After(last) {
			last = r.At
		}
	}
	return last
}

// forget takes out the oldest of m while there are more than most.
func forget[V any](m map[string]V, most int, when func(V) time.Time) {
	for len(m) > most {
		var oldest string
		var since time.Time
		first := true
		for k, v := range m {
			if t := when(v); first || t.Before(since) {
				oldest, since, first = k, t, false
			}
		}
		delete(m, oldest)
	}
}

func (m *Memory) hash(s string) string {
	key, _ := hex.DecodeString(m.data.Key) // was checked
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// write replaces the file whole or not at all.
func (m *Memory) write() error {
	if info, err := os.Lstat(m.path); err == nil && !info.Mode().IsRegular() {
		return errMemory // somebody's device, or his link: not ours to replace
	}
	b, err := json.Marshal(m.data)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), m.path)
}
