package swap

import (
	"context"
	"errors"
)

// Registry is where readers ask which folder a partition has: a metastore. What it changes is changed
// at once and for good, but it has no compare-and-swap: what is right rests on claims, and on pointing
// forward only. Its methods are safe for concurrent use.
type Registry interface {
	// URL names the table there, for people.
	URL() string
	// Look gives what is registered of the partitions named; those that are not registered are left out.
	// "" is the whole of a table without partitions.
	Look(ctx context.Context, partitions []string) (map[string]Registered, error)
	// Point registers new folders, all or none. Where its outcome is not known it is an error as well, and
	// who calls looks again; to do it twice does no harm.
	Point(ctx context.Context, list []Pointer) error
	// Hold asks others to leave partitions alone, as a courtesy: nothing rests on it. ErrLocked where
	// somebody else holds one.
	Hold(ctx context.Context, partitions []string, run string) (release func() error, err error)
}

// Registered is what a registry says of a partition.
type Registered struct {
	Folder string // absolute, on the store's storage
	// Stamp changes when anything changes that a merge rests on: columns, formats, parameters.
	Stamp string
}

// Pointer is one partition's change in a registry.
type Pointer struct {
	Partition string
	Was       string // the folder it has; "": it is not registered
	Folder    string // the folder it gets; "": it goes away
	Run       string
	Version   int64
	Rows      int64 // -1: not known
	Bytes     int64
	Files     int
}

// ErrRegistered: readers find the table's partitions by a registry, and its folders do not tell.
var ErrRegistered = errors.New("the table is published through a metastore")
