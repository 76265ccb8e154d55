// Package stage builds a directory of files that is sealed or does not count. A [Dir] is made with
// [New], filled with Create and Keep, and ends with Seal, which makes files, names and last the
// manifest durable, in this order: a directory with a manifest is whole, whatever crashed or failed.
// Only its data folder is ever published, so nothing of ours lies among a table's files.
package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// Names inside a staged directory.
const (
	dataName     = "data"
	manifestName = "manifest.json"
)

// File is a file as it was listed: what tells whether it is still the same.
type File struct {
	Name    string    `json:"name"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime"`
	ID      string    `json:"id,omitempty"`
}

// Manifest says what a sealed directory holds and from what it was made.
type Manifest struct {
	Run       string    `json:"run"`
	Partition string    `json:"partition"`
	Command   string    `json:"command"`
	Mode      string    `json:"mode,omitempty"`
	Restores  string    `json:"restores,omitempty"` // the run whose version a rollback puts back
	Time      time.Time `json:"time"`
	Rows      int64     `json:"rows"`
	Bytes     int64     `json:"bytes"`
	Files     []File    `json:"files"`
	// Sources fingerprints what an append took in, so that the same is not appended twice unawares.
	Sources []string `json:"sources,omitempty"`
	// Detail is what the layer above wants to find in the history: what the run did.
	Detail json.RawMessage `json:"detail,omitempty"`
	// Mark is what the caller left with the version, to know it by: from which inputs it was made.
	Mark string `json:"mark,omitempty"`
}

// Dir is a directory being staged. Create and Keep may be called from several goroutines.
type Dir struct {
	fsys storage.FS
	root string

	mode    fs.FileMode
	blocks  storage.Blocks
	mu      sync.Mutex
	created []*file
}

// New makes the directory <root>/data, root's parent existing. Files get the given mode.
func New(ctx context.Context, fsys storage.FS, root string, dirMode, fileMode fs.FileMode) (*Dir, error) {
	if err := fsys.Mkdir(ctx, root, 0o755); err != nil {
		return nil, err
	}
	d := &Dir{fsys: fsys, root: root, mode: fileMode}
	return d, fsys.Mkdir(ctx, d.Data(), dirMode)
}

// Like says what the blocks of created files are to be like, where the storage has any; before the first one is created. Files that
// are copied have those of their own.
func (d *Dir) Like(b storage.Blocks) { d.blocks = b }

// Data is the folder that goes live.
func (d *Dir) Data() string { return DataOf(d.root) }

// DataOf is the folder that goes live of the staged directory at root.
func DataOf(root string) string { return path.Join(root, dataName) }

// Create begins a new file. After an error of its writer Seal fails too.
func (d *Dir) Create(ctx context.Context, name string) (storage.Writer, error) {
	return d.create(ctx, name, d.blocks)
}

func (d *Dir) create(ctx context.Context, name string, blocks storage.Blocks) (*file, error) {
	w, err := d.fsys.Create(storage.WithBlocks(ctx, blocks), path.Join(d.Data(), name), d.mode)
	if err != nil {
		return nil, err
	}
	f := &file{Writer: w}
	d.mu.Lock()
	d.created = append(d.created, f)
	d.mu.Unlock()
	return f, nil
}

// file makes its content durable when it is closed: the write-back then runs beside the next file's
// encoding, and an error is found before the manifest is written. It keeps the first error.
type file struct {
	storage.Writer
	closed bool
	err    error
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	f.note(err)
	return n, err
}

func (f *file) CopyRange(src storage.File, offset, length int64) error {
	err := f.Writer.CopyRange(src, offset, length)
	f.note(err)
	return err
}

func (f *file) note(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *file) Close() error {
	if f.closed {
		return f.err
	}
	f.closed = true
	if f.err == nil {
		// The content before the manifest that vouches for it. A failed fsync is never tried again: what
		// reached the disk is unknown from then on.
		f.err = f.Sync()
	}
	f.err = errors.Join(f.err, f.Writer.Close())
	return f.err
}

// Keep takes a file over under its own name: by a hard link where that can be, else by a copy. It
// says which. A linked file is the live one too and is never changed, its mode and owner included. A
// copy that a failing server lost (storage.ErrWriteAgain) is made again. After an error nothing has the name.
func (d *Dir) Keep(ctx context.Context, from, name string) (how string, err error) {
	err = d.fsys.Link(ctx, from, path.Join(d.Data(), name))
	switch {
	case err == nil:
		return "link", nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EMLINK):
	default:
		return "", err
	}
	if err := again(ctx, func() error { return d.copy(ctx, from, name) }); err != nil {
		return "", err
	}
	return "copy", nil
}

// Tries is how often a file is begun whose bytes a server loses (storage.ErrWriteAgain).
const Tries = 4

// again writes a file, and does so anew where what was written is lost. A try that failed has left nothing.
func again(ctx context.Context, write func() error) error {
	for try := 1; ; try++ {
		err := write()
		if try == Tries || !errors.Is(err, storage.ErrWriteAgain) || errors.Is(err, errLeft) || ctx.Err() != nil {
			return err
		}
	}
}

// errLeft: a file that was given up is still there.
var errLeft = errors.New("what was written of it can't be removed")

func (d *Dir) copy(ctx context.Context, from, name string) error {
	src, err := d.fsys.Open(ctx, from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	f, err := d.create(ctx, name, info.Blocks)
	if err != nil {
		return err
	}
	if err := errors.Join(f.CopyRange(src, 0, info.Size), f.Close()); err != nil {
		return errors.Join(err, d.giveUp(context.WithoutCancel(ctx), f, name))
	}
	return nil
}

// giveUp removes a file that could not be written.
func (d *Dir) giveUp(ctx context.Context, f *file, name string) error {
	if err := d.fsys.Remove(ctx, path.Join(d.Data(), name)); err != nil {
		return fmt.Errorf("%w: %w", errLeft, err) // Seal fails for it
	}
	d.mu.Lock()
	d.created = slices.DeleteFunc(d.created, func(g *file) bool { return g == f })
	d.mu.Unlock()
	return nil
}

// Remove removes a directory that was given up: its files are closed, and it is not sealed.
func (d *Dir) Remove(ctx context.Context) error {
	list, err := List(ctx, d.fsys, d.Data())
	if err != nil {
		return err
	}
	for _, f := range list {
		if err := d.fsys.Remove(ctx, path.Join(d.Data(), f.Name)); err != nil {
			return err
		}
	}
	if err := d.fsys.Remove(ctx, d.Data()); err != nil {
		return err
	}
	return d.fsys.Remove(ctx, d.root)
}

// Seal makes what was staged durable and writes the manifest, whose Files it fills.
func (d *Dir) Seal(ctx context.Context, m Manifest) (Manifest, error) {
	d.mu.Lock()
	created := slices.Clone(d.created)
	d.mu.Unlock()
	for _, f := range created {
		if err := f.Close(); err != nil {
			return m, err
		}
	}
	list, err := List(ctx, d.fsys, d.Data())
	if err != nil {
		return m, err
	}
	m.Files, m.Bytes = list, 0
	for _, f := range list {
		m.Bytes += f.Size
	}
	// The names before the manifest, which is read as "all of them are there".
	if err := d.fsys.SyncDir(ctx, d.Data()); err != nil {
		return m, err
	}
	// By a rename: a manifest that a power cut left in part would vouch for nothing and be there.
	name := path.Join(d.root, manifestName)
	if err := WriteJSON(ctx, d.fsys, name+".new", m); err != nil {
		return m, err
	}
	if err := d.fsys.Rename(ctx, name+".new", name); err != nil {
		return m, err
	}
	return m, d.fsys.SyncDir(ctx, d.root)
}

// Open finds a sealed directory again.
func Open(ctx context.Context, fsys storage.FS, root string) (*Dir, Manifest, error) {
	var m Manifest
	err := ReadJSON(ctx, fsys, path.Join(root, manifestName), &m)
	return &Dir{fsys: fsys, root: root}, m, err
}

// List describes the files of a directory, by name. Folders are left out.
func List(ctx context.Context, fsys storage.FS, dir string) ([]File, error) {
	infos, err := fsys.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := make([]File, 0, len(infos))
	for _, i := range infos {
		if !i.IsDir() {
			out = append(out, File{Name: i.Name, Size: i.Size, ModTime: i.ModTime.UTC(), ID: i.ID})
		}
	}
	return out, nil
}

// WriteJSON writes a new file and makes its content durable; its name is so after a SyncDir. After an
// error it is not there.
func WriteJSON(ctx context.Context, fsys storage.FS, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return again(ctx, func() error { return writeFile(ctx, fsys, name, append(data, '\n')) })
}

// writeFile writes a new file; after an error it is not there, unless that is errLeft.
func writeFile(ctx context.Context, fsys storage.FS, name string, data []byte) error {
	w, err := fsys.Create(ctx, name, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		return nil
	}
	if left := fsys.Remove(context.WithoutCancel(ctx), name); left != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", errLeft, left))
	}
	return err
}

// ErrUnreadable is of a file of ours that is not what we write.
var ErrUnreadable = errors.New("can't be read")

// ReadJSON reads a file that WriteJSON wrote.
func ReadJSON(ctx context.Context, fsys storage.FS, name string, v any) error {
	data, err := ReadFile(ctx, fsys, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrUnreadable, err)
	}
	return nil
}

// maxState is the largest file of ours that is read whole, in bytes.
const maxState = 64 << 20

// ReadFile reads a small file whole.
func ReadFile(ctx context.Context, fsys storage.FS, name string) ([]byte, error) {
	f, err := fsys.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size > maxState {
		err = fmt.Errorf("%s has %d bytes, more than a file of the state can have", name, info.Size)
	}
	var data []byte
	if err == nil {
		data = make([]byte, info.Size) // in one read: each may ask another machine
		var n int
		if n, err = f.ReadAt(data, 0); errors.Is(err, io.EOF) {
			err = nil
		}
		data = data[:n]
	}
	return data, errors.Join(err, f.Close())
}
