package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/colinmarc/hdfs/v2"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// remote is an exception of a namenode, as an error of ours.
type remote struct {
	is        error // what callers branch on; nil where there is nothing
	exception string
	message   string
}

func (r *remote) Error() string {
	if r.message == "" {
		return r.exception
	}
	return r.message
}

func (r *remote) Unwrap() error { return r.is }

// answer is an error that is found in what the namenode answered.
func answer(is error) error { return &remote{is: is, message: is.Error()} }

// exceptions are those that have a meaning for callers, by the last part of their name.
var exceptions = map[string]error{
	"FileNotFoundException":                               syscall.ENOENT,
	"AccessControlException":                              syscall.EACCES,
	"FileAlreadyExistsException":                          syscall.EEXIST,
	"AlreadyBeingCreatedException":                        syscall.EEXIST,
	"RecoveryInProgressException":                         syscall.EEXIST, // somebody died while he wrote it
	"PathIsNotEmptyDirectoryException":                    syscall.ENOTEMPTY,
	"ParentNotDirectoryException":                         syscall.ENOTDIR,
	"PathIsNotDirectoryException":                         syscall.ENOTDIR,
	"PathIsDirectoryException":                            syscall.EISDIR,
	"NSQuotaExceededException":                            syscall.EDQUOT,
	"DSQuotaExceededException":                            syscall.EDQUOT,
	"QuotaByStorageTypeExceededException":                 syscall.EDQUOT,
	"FSLimitException$PathComponentTooLongException":      syscall.ENAMETOOLONG,
	"FSLimitException$MaxDirectoryItemsExceededException": syscall.EDQUOT,
	"InvalidPathException":                                syscall.EINVAL,
	"HadoopIllegalArgumentException":                      syscall.EINVAL,
	"UnresolvedPathException":                             errors.ErrUnsupported, // a symlink
	"UnknownCryptoProtocolVersionException":               storage.ErrUnsafe,
	"LeaseExpiredException":                               storage.ErrWriteAgain,
	"UnsupportedOperationException":                       errors.ErrUnsupported,
	"SnapshotAccessControlException":                      syscall.EROFS,
}

// passing are exceptions of a namenode that did nothing and may soon do it.
var passing = map[string]bool{
	"SafeModeException": true, "StandbyException": true, "RetriableException": true,
	"ObserverRetryOnActiveException": true, "RpcServerException": true, "ServerNotRunningYetException": true,
	"NotReplicatedYetException": true,
}

// lastPart is the name of an exception without its package.
func lastPart(exception string) string { return exception[strings.LastIndexByte(exception, '.')+1:] }

// explain makes an error of ours of one of the library.
func explain(err error) error {
	var e hdfs.Error
	if !errors.As(err, &e) {
		return err
	}
	r := &remote{exception: lastPart(e.Exception())}
	r.message, _, _ = strings.Cut(e.Message(), "\n")
	r.is = exceptions[r.exception]
	switch {
	case r.exception == "UnknownCryptoProtocolVersionException":
		r.message = "the folder is an encryption zone, which hupsert can't write: keep the table outside of it"
	case strings.Contains(r.message, "could only be written to 0 of"), strings.Contains(r.message, "could only be replicated to 0 nodes"):
		r.is = errors.Join(storage.ErrWriteAgain, syscall.ENOSPC)
		if strings.Contains(r.message, "There are 0 datanode(s) running") {
			r.is = errors.Join(storage.ErrWriteAgain, storage.ErrUnavailable)
		}
	}
	return r
}

// passes reports whether an exception means that the same may work soon, and that nothing was done.
func passes(err error) bool {
	var r *remote
	return errors.As(err, &r) && passing[r.exception]
}

// isRemote reports whether the namenode has answered, whatever it said.
func isRemote(err error) bool {
	var r *remote
	return errors.As(err, &r)
}

// pathError names the file.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) && pe.Path == name {
		return err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func linkError(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}

// final reports whether trying again can't help.
func final(err error) bool {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !isTimeout(err):
		return true
	case errors.Is(err, hadoop.ErrSilent):
		return false
	case errors.Is(err, errLogin), errors.Is(err, ErrMismatch), errors.Is(err, errProtocol), errors.Is(err, errClosed):
		return true
	case errors.As(err, &dns) && dns.IsNotFound:
		return true
	}
	return isRemote(err) && !passes(err)
}

// unavailable is the error after the last try.
func (f *FS) unavailable(err error, tried time.Duration) error {
	tried = tried.Round(time.Second)
	switch nodes := f.o.Address.Namenodes; {
	case passes(err):
		return fmt.Errorf("%w: %s for %s: %w; try again when the namenode is ready", storage.ErrUnavailable, f.o.Address, tried, err)
	case f.pool.hopeless(err):
		host, _, _ := net.SplitHostPort(nodes[0])
		return fmt.Errorf("%w: %s: there is no host %s; is it misspelt, or a nameservice? HADOOP_CONF_DIR has the settings of that", storage.ErrUnavailable, f.o.Address, host)
	case errors.Is(err, hadoop.ErrSilent):
		return fmt.Errorf("%w: %s for %s: %w", storage.ErrUnavailable, f.o.Address, tried, err) // what helps is in it
	case len(nodes) == 1:
		return fmt.Errorf("%w: %s for %s: %w; is the namenode running, and this its RPC port?", storage.ErrUnavailable, f.o.Address, tried, err)
	default:
		return fmt.Errorf("%w: %s (namenodes %s) for %s: %w; is one of them running and active, and are these their RPC ports?",
			storage.ErrUnavailable, f.o.Address, strings.Join(nodes, ", "), tried, err)
	}
}
