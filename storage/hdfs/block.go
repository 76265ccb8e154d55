package hdfs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// The library begins a block by one call, and gives up where the namenode is not ready for it, does not answer, or
// names a datanode that is gone. What is here goes on: nothing is lost between two blocks.

// blockTries is how many sets of datanodes a block is tried with.
const blockTries = 5

// begin begins a block, with what is written to it first, after the one before is acknowledged.
func (w *writer) begin(first []byte) (int, error) {
	at, err := blockOf(w.w)
	if err != nil {
		return 0, err
	}
	if err := at.finish(); err != nil {
		return 0, err
	}
	before := at.remember()
	previous, err := before.written()
	if err != nil {
		return 0, err
	}
	var since time.Time
	var gone []request // datanodes that do not answer
	for pause, tries := 20*time.Millisecond, 1; ; pause = min(2*pause, time.Second) {
		n, err := w.w.Write(first)
		if err == nil || n > 0 {
			return n, err
		}
		failed := explain(err)
		if at.none() || at.is(before) {
			// The namenode did not give a block: it is asked again, which gives the same one where only its reply was lost.
			at.back(before)
			// The library makes errors of its own of what the namenode says of files that are gone or not ours.
			answered := isRemote(failed) || errors.Is(failed, fs.ErrNotExist) || errors.Is(failed, fs.ErrPermission)
			if answered && !passes(failed) {
				return 0, failed
			}
			if since.IsZero() {
				since = time.Now()
			} else if time.Since(since) > w.f.o.Retry {
				return 0, w.f.unavailable(failed, time.Since(since))
			}
		} else {
			// A datanode did not take the block, and has nothing of it.
			if tries++; tries > blockTries {
				return 0, failed
			}
			if gone, err = w.elsewhere(at, before, previous, gone); err != nil {
				return 0, errors.Join(failed, err)
			}
		}
		if err := rest(w.ctx, pause); err != nil {
			return 0, err
		}
	}
}

// elsewhere gives a block up, and has the namenode choose other datanodes for the next one than those that do not answer. The
// library asks for that block once more, and gets the one that was chosen.
func (w *writer) elsewhere(at, before blockWriter, previous any, gone []request) ([]request, error) {
	located, err := at.located()
	if err != nil {
		return gone, err
	}
	_ = at.finish() // it was not begun; this ends what waits on its connection
	id, _ := located.at("b")
	block, err := id.asRequest()
	if err != nil {
		return gone, err
	}
	gone, err = w.deaf(located, gone)
	if err != nil {
		return gone, err
	}
	at.back(before)
	err = w.f.try(w.ctx, func(c *client, _ bool) error {
		_, err := c.call("abandonBlock", request{"b": block, "src": w.name, "holder": w.c.lib.Name(), "fileId": w.id})
		if err != nil || len(gone) == 0 {
			return err
		}
		next := request{"src": w.name, "clientName": w.c.lib.Name(), "fileId": w.id, "excludeNodes": gone}
		if previous != nil {
			next["previous"] = previous
		}
		_, err = c.call("addBlock", next)
		return err
	})
	return gone, err
}

// deaf adds the datanodes of a block that take no connection.
func (w *writer) deaf(located reply, gone []request) ([]request, error) {
	nodes := located.list("locs")
	for i := range nodes.Len() {
		node := reply{nodes.Get(i).Message()}
		id, _ := node.at("id")
		host := id.get("ipAddr").String()
		if w.f.o.Conf.Is("dfs.client.use.datanode.hostname", "true") {
			host = id.get("hostName").String()
		}
		addr := net.JoinHostPort(host, strconv.FormatUint(id.get("xferPort").Uint(), 10))
		c, err := w.f.dial(w.ctx, "tcp", addr, nil)
		if err == nil {
			_ = c.Close() // it takes connections
			continue
		}
		w.f.o.Logger.Warn("a datanode does not answer: the file goes to others", "datanode", addr, "file", w.name, "error", err)
		bad, err := node.asRequest()
		if err != nil {
			return gone, err
		}
		gone = append(gone, bad)
	}
	return gone, nil
}

// end ends the last block, and gives it for the file's completion.
func (w *writer) end() (any, error) {
	at, err := blockOf(w.w)
	if err != nil {
		return nil, err
	}
	if err := at.finish(); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrWriteAgain, err)
	}
	return at.written()
}
