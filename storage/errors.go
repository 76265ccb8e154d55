package storage

import "errors"

// ErrLocked is returned by FS.Lock when another holder has the lock.
var ErrLocked = errors.New("locked by another holder")

// ErrUnavailable is of a service that could not be reached, or was not ready, for as long as it was tried. The error names
// who did not answer. What was asked for may have been done all the same.
var ErrUnavailable = errors.New("the storage does not answer")

// ErrWriteAgain says that what was written to a file is lost, or not known to be there, since a server failed under it. The
// file can't be gone on with: remove it, and write it whole again.
var ErrWriteAgain = errors.New("the file must be written again")

// ErrUnsafe says that the file system would give other bytes than those that were stored, or lose what is written: it is
// refused before that happens. The error says why, and what helps.
var ErrUnsafe = errors.New("can't be read or written safely")
