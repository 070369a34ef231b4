//go:build !linux

package splice

// bulk has nothing better than copying here.
func (p *pump) bulk() (over bool, err error) { return false, nil }
