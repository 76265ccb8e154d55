package storage

import "errors"

// ErrLocked is returned by FS.Lock when another holder has the lock.
var ErrLocked = errors.New("locked by another holder")

// ErrUnavailable is returned where a service does not answer, or can't do what it is asked for now, also after it was tried again.
var ErrUnavailable = errors.New("service unavailable")
