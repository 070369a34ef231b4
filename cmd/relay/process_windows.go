package main

// descriptorLimit is what Windows lets a process open, about: there is no
// setting like the one of Unix systems.
func descriptorLimit() uint64 { return 1 << 24 }
