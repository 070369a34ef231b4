package splice

// allPipes are the pools, in the order of getPipe.
var allPipes = []*pipePool{&largePipes, &smallPipes}

// MaxPipes is how many pipes there are at most.
var MaxPipes = largePipes.most + smallPipes.most

// PipesInUse is how many pipes are lent out.
func PipesInUse() int {
	n := 0
	for _, p := range allPipes {
		p.mu.Lock()
		n += p.total - len(p.idle)
		p.mu.Unlock()
	}
	return n
}

// HoldPipes takes every pipe there is, until release is called.
func HoldPipes() (held int, release func()) {
	var all []pipe
	for {
		p, ok := getPipe(true)
		if !ok {
			break
		}
		all = append(all, p)
	}
	return len(all), func() {
		for _, p := range all {
			p.pool.put(p)
		}
	}
}

// DropIdlePipes closes the pipes that are kept for later.
func DropIdlePipes() {
	for _, p := range allPipes {
		p.mu.Lock()
		idle := p.idle
		p.idle = nil
		p.mu.Unlock()
		for _, pp := range idle {
			p.drop(pp)
		}
	}
}
