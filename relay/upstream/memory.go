package upstream

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Memory is which ways worked on which network, in a file. Whoever takes the file
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
	Key      string                          `json:"key"`
	Networks map[string]map[string]time.Time `json:"networks"` // network, way, when it worked last
}

const (
	mostNetworks = 16
	mostRemember = 64 // ways of a network
	mostFile     = 256 << 10
	// staleTime is for how long a success means something.
	staleTime = 30 * 24 * time.Hour
	// sameTime is within which a success is not written again.
	sameTime = 10 * time.Minute
)

// OpenMemory reads the file at path, or begins anew if there is none that can be
// read: what it says is worth a few seconds, not an error.
func OpenMemory(path string, network func() string) *Memory {
	m := &Memory{path: path, network: network}
	if info, err := os.Stat(path); err == nil && info.Size() <= mostFile {
		if b, err := os.ReadFile(path); err == nil {
			_ = json.Unmarshal(b, &m.data)
		}
	}
	if k, err := hex.DecodeString(m.data.Key); err != nil || len(k) != sha256.Size {
		var key [sha256.Size]byte
		_, _ = rand.Read(key[:]) // never fails (crypto/rand)
		m.data = remembered{Key: hex.EncodeToString(key[:])}
	}
	if m.data.Networks == nil {
		m.data.Networks = map[string]map[string]time.Time{}
	}
	return m
}

// last is when a way worked last on this network; zero: never, or long ago.
func (m *Memory) last(way string) time.Time {
	if m == nil {
		return time.Time{}
	}
	network := m.network()
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.data.Networks[m.hash(network)][m.hash(way)]; time.Since(t) < staleTime {
		return t
	}
	return time.Time{}
}

// worked keeps a success.
func (m *Memory) worked(way string, now time.Time) {
	if m == nil {
		return
	}
	network := m.network()
	if network == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, w := m.hash(network), m.hash(way)
	ways := m.data.Networks[n]
	if ways == nil {
		ways = map[string]time.Time{}
		m.data.Networks[n] = ways
	}
	if now.Sub(ways[w]) < sameTime {
		return
	}
	ways[w] = now.Truncate(time.Minute).UTC()
	forget(ways, mostRemember, func(t time.Time) time.Time { return t })
	forget(m.data.Networks, mostNetworks, func(ways map[string]time.Time) (newest time.Time) {
		for _, t := range ways {
			if t.After(newest) {
				newest = t
			}
		}
		return newest
	})
	_ = m.write() // the next success tries again
}

// forget takes out the oldest of m while there are more than most.
func forget[V any](m map[string]V, most int, when func(V) time.Time) {
	for len(m) > most {
		var oldest string
		for k, v := range m {
			if oldest == "" || when(v).Before(when(m[oldest])) {
				oldest = k
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
	if err := os.Rename(f.Name(), m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
