package auth

import (
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// release gives back the memory that reads have mapped. Since Linux 6.18 one
// page fault maps everything around it that the page cache holds in one piece,
// 700 kB as measured, so that sixty users who connect leave the whole database
// of 100,000 in our address space. The pages stay in the cache; touching them
// again costs a fault.
//
// The transaction keeps bbolt from moving the mapping meanwhile; it writes
// through the file and not through the mapping, so that nothing can be lost.
func (s *Store) release() {
	if !s.touched.Swap(false) {
		return
	}
	_ = s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			_, _, errno := unix.Syscall(unix.SYS_MADVISE, s.db.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
			if errno != 0 {
				return errno
			}
			return nil
		})
	})
}
