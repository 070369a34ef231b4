package auth

// User names a user to the rest of the relay: a value, without keys. The zero
// User is anonymous. It is comparable, and remembers which credential was
// proved, so that replacing that one ends the session.
type User struct {
	ID   uint64 // never reused; 0 is anonymous
	Name string

	label      string
	generation uint32
}

// IsAnonymous reports whether nobody has proved to be anyone.
func (u User) IsAnonymous() bool { return u.ID == 0 }
