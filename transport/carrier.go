package transport

import (
	"errors"
	"fmt"
)

var (
	// ErrCarrier says that the connection which carried a stream has been lost: it was
	// reset, has ended or is frozen. It says nothing about the stream's target.
	ErrCarrier = errors.New("the carrier was lost")
	// ErrUnsound is an ErrCarrier behind which the next connection will hardly do
	// better, whatever this one has answered: it ended within moments, or the other
	// side broke the protocol.
	ErrUnsound = fmt.Errorf("%w: it does not hold", ErrCarrier)
)
