//go:build !linux

package splice

// canPark is false where there is no epoll: a direction that waits has its goroutine.
const canPark = false

type lookout struct{}

func (*lookout) watch(*pump, socket) bool { return false }
func (*lookout) wake(*pump)               {}
func (*lookout) rest()                    {}
