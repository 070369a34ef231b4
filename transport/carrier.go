package transport

import "errors"

// ErrCarrier says that the connection which carried a stream has been lost: it was
// reset, has ended or is frozen. It says nothing about the stream's target.
var ErrCarrier = errors.New("the carrier was lost")
