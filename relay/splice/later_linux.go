package splice

// fifo is a queue of tasks. One that has been long does not stay large.
type fifo struct {
	tasks []*task
	first int
}

const smallQueue = 64

func (f *fifo) len() int { return len(f.tasks) - f.first }

func (f *fifo) push(t *task) {
	if f.first > smallQueue && f.first > f.len() {
		n := copy(f.tasks, f.tasks[f.first:])
		clear(f.tasks[n:])
		f.tasks, f.first = f.tasks[:n], 0
	}
	f.tasks = append(f.tasks, t)
}

// skip drops those at the front who have gone on already.
func (f *fifo) skip() {
	for f.len() > 0 && !f.tasks[f.first].behind {
		f.pop()
	}
}

// pop takes the first of a queue that is not empty.
func (f *fifo) pop() *task {
	t := f.tasks[f.first]
	f.tasks[f.first] = nil
	f.first++
	switch {
	case f.len() > 0:
	case cap(f.tasks) > smallQueue:
		*f = fifo{}
	default:
		f.tasks, f.first = f.tasks[:0], 0
	}
	return t
}
