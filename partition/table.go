package partition

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/swap"
)

// Config says how a table is opened. The zero value works.
type Config struct {
	// StateDir is where staging, history, journal and locks are kept, on the same file system as the
	// table. "": <parent>/.hupsert/<table>.
	StateDir string
	// Publish is how a staged partition is switched in: exchange, rename, or auto ("") for the best
	// that the file system can do.
	Publish string
	// LockWait is how long to wait for a partition another run holds. 0: not at all.
	LockWait time.Duration
	// Logger takes Info records per partition and Debug records per file, without data values. nil
	// discards them.
	Logger *slog.Logger
	// Observer is called at step boundaries, one call at a time. It must not block for long. nil: none.
	Observer func(Event)
	// Progress is counters to poll while a run goes on. nil: none.
	Progress *Progress
	// Tracer takes the spans of runs, a span for each step of each partition, as children of the one in the context. nil: that
	// of the process (otel.GetTracerProvider), which takes none unless the caller has set one.
	Tracer trace.TracerProvider
	// FS is the file system that holds the table; its path is then Open's url as it is. nil: by the
	// url's scheme.
	FS storage.FS
	// Hadoop says who we are on HDFS and for a metastore, and where both are configured.
	Hadoop Hadoop
	// Now is the clock. nil: time.Now.
	Now func() time.Time

	hooks hooks
}

// Hadoop is how clusters are reached. The zero value takes everything from the environment: HADOOP_CONF_DIR (or
// HADOOP_HOME) for core-site.xml, hdfs-site.xml and hive-site.xml, HADOOP_USER_NAME, and Kerberos' ticket cache where
// the configuration asks for Kerberos.
type Hadoop struct {
	User      string // the user, where there is no Kerberos. "": HADOOP_USER_NAME, else the one who runs this
	Keytab    string // file with the keys of Principal; "": the ticket cache
	Principal string // "etl@EXAMPLE.COM" or "etl/host@EXAMPLE.COM"
	// IgnoreACL goes on where the access control list of a partition can't be carried over.
	IgnoreACL bool
	// IgnoreSetBack goes on from what the metastore has where somebody has set a partition back to before versions of
	// ours, which else is ErrConflict: their rows are out of sight then, and in the history.
	IgnoreSetBack bool
}

// Table is a table that can be merged into. It holds nothing open between calls.
type Table struct {
	url    string
	root   string // absolute, symlinks resolved
	fsys   storage.FS
	device string // of the storage, as a place has it
	// catalog is the metastore's table; nil for one that its folder makes.
	catalog  catalog
	store    *swap.Store
	cfg      Config
	storages *storages // of sources, too
	watch    *observed
	tracer   trace.Tracer
	random   func([]byte) // crypto/rand, which never fails
	// declaring is held while the configuration is read, changed and written.
	declaring sync.Mutex
}

// begin starts a run of the state.
func (t *Table) begin(ctx context.Context, id, command string, partitioned bool) (*swap.Run, error) {
	run, err := t.store.Begin(ctx, id, command, partitioned)
	if errors.Is(err, swap.ErrNameTaken) {
		return nil, &Error{Kind: KindConflict, Err: both{err, ErrConflict}, Hint: "run again"}
	}
	return run, err
}

// Open opens the table at a path or file URL, and checks that the state found for it is its own. It
// writes nothing. The table need not exist yet: [Options.Create] makes it. A path that is a symlink
// means the folder it leads to, and the state lies beside that.
func Open(ctx context.Context, url string, cfg Config) (*Table, error) {
	url = plainURL(url)
	t := &Table{url: url, root: url, fsys: cfg.FS, cfg: cfg, tracer: cfg.newTracer(), storages: &storages{hadoop: cfg.Hadoop, hooks: cfg.hooks}, random: func(b []byte) { _, _ = rand.Read(b) }}
	err := t.open(ctx)
	if err == nil {
		return t, nil
	}
	if cerr := t.Close(); cerr != nil { // what connected us by then
		err = errors.Join(err, cerr)
	}
	return nil, err
}

// open finds the table and its state.
func (t *Table) open(ctx context.Context) error {
	switch swap.Way(t.cfg.Publish) {
	case "", swap.Auto, swap.Exchange, swap.Rename, swap.Location:
	default:
		return locate(fault(ErrUsage, "publish %q: want auto, exchange, rename or location", t.cfg.Publish), "", StepOpen)
	}
	if t.cfg.Hadoop.Principal != "" && t.cfg.Hadoop.Keytab == "" {
		return locate(fault(ErrUsage, "principal %s: there is no keytab with its keys", t.cfg.Hadoop.Principal).
			hint("--keytab FILE has them; the ticket cache is whose kinit made it, and needs no --principal"), "", StepOpen)
	}
	if t.cfg.Logger == nil {
		t.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if t.cfg.Now == nil {
		t.cfg.Now = time.Now
	}
	t.storages.logger = t.cfg.Logger
	if t.cfg.FS == nil {
		if err := t.find(ctx); err != nil {
			return locate(err, "", StepOpen)
		}
	}
	switch info, err := t.fsys.Stat(ctx, t.root); {
	case err == nil && !info.IsDir():
		return locate(fault(ErrUsage, "%s is a file; a table is a folder", t.url), "", StepOpen)
	case err != nil && cannotReach(err):
		return locate(err, "", StepOpen)
	}
	if t.catalog == nil {
		if err := refusePartition(t.device, t.root); err != nil {
			return locate(err, "", StepOpen)
		}
	}
	if swap.Way(t.cfg.Publish) == swap.Location && t.catalog == nil {
		return locate(fault(ErrUsage, "publish location: %s is not a table of a metastore", t.url).hint("name it as hive://host:9083/db.table"), "", StepOpen)
	}
	t.watch = &observed{fn: t.cfg.Observer}
	store, err := swap.Open(ctx, t.fsys, t.root, t.swapOptions())
	if errors.Is(err, swap.ErrRegistered) {
		err = registeredElsewhere(err)
	}
	if errors.Is(err, swap.ErrTwoStates) {
		err = twoStates(err)
	}
	if errors.Is(err, swap.ErrForeignState) {
		err = &Error{Kind: KindUsage, Err: both{err, ErrUsage}, Hint: "the state folder belongs to one table; --state-dir names another one"}
	}
	if err != nil {
		return locate(err, "", StepOpen)
	}
	t.store = store
	return nil
}

// twoStates says what to do where a table has its state elsewhere.
func twoStates(err error) error {
	return &Error{Kind: KindUsage, Err: both{err, ErrUsage},
		Hint: "a table has one state, with its locks and its history: leave --state-dir out, or name that folder, in every run"}
}

func (t *Table) swapOptions() swap.Options {
	o := swap.Options{StateDir: t.cfg.StateDir, Publish: swap.Way(t.cfg.Publish), LockWait: t.cfg.LockWait, Clock: t.cfg.Now,
		Logger: t.cfg.Logger, Owner: owner(), IgnoreACL: t.cfg.Hadoop.IgnoreACL,
		IgnoreSetBack: t.cfg.Hadoop.IgnoreSetBack}
	if t.catalog != nil {
		o.Registry = t.catalog
	}
	if !t.place().local() {
		o.Owner.Machine = "" // the locks are the cluster's, and all machines see them
	}
	return o
}

// owner is what others are told who find a partition locked, and by which other machines know us.
func owner() swap.Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "this host" // only the message is poorer
	}
	return swap.Owner{Host: host, PID: os.Getpid(), Machine: local.Machine()}
}

// refusePartition refuses the folder of a partition: its state would lie among the table's partitions, and
// its own columns would be missing.
func refusePartition(device, root string) error {
	var spec []string
	table := root
	for {
		if _, err := parsePair(path.Base(table)); err != nil {
			break
		}
		spec = append([]string{path.Base(table)}, spec...)
		table = path.Dir(table)
	}
	if len(spec) == 0 {
		return nil
	}
	return fault(ErrUsage, "%s is a partition, not a table", device+root).
		hint("name the table, %s, and --partition %s", device+table, strings.Join(spec, ","))
}

// find finds the table on the storage that its URL names.
func (t *Table) find(ctx context.Context) error {
	if strings.HasPrefix(t.url, metastore.Scheme+"://") {
		return t.openHive(ctx)
	}
	at, err := t.storages.find(t.url)
	if err == nil {
		at, err = at.resolve()
	}
	if err != nil {
		return err
	}
	if at.name == "/" {
		return fault(ErrUsage, "the root folder can't be a table")
	}
	t.fsys, t.device, t.root = at.fsys, at.device, at.name
	return t.findState()
}

// findState makes a name on the table's storage of the folder that is named for the state.
func (t *Table) findState() error {
	if t.cfg.StateDir == "" {
		return nil
	}
	if !t.place().local() && strings.HasPrefix(t.cfg.StateDir, "/") {
		t.cfg.StateDir = path.Clean(t.cfg.StateDir)
		return nil
	}
	at, err := t.storages.find(t.cfg.StateDir)
	if err == nil {
		at, err = at.resolve()
	}
	if err == nil && at.device != t.device {
		err = fault(ErrUsage, "the state folder %s is not on the table's storage, %s", t.cfg.StateDir, t.place().url()).
			hint("what is staged is renamed into the table: name a folder there")
	}
	t.cfg.StateDir = at.name
	return err
}

// place is where the table is.
func (t *Table) place() place { return place{fsys: t.fsys, device: t.device, name: t.root} }

// urlOf is a name on the table's storage as others can be told it.
func (t *Table) urlOf(name string) string {
	if name == "" {
		return ""
	}
	return t.device + name
}

// Close ends what connects the table to clusters. A table on local disks has nothing to close.
func (t *Table) Close() error {
	err := t.storages.close()
	if t.catalog != nil {
		err = errors.Join(err, t.catalog.Close())
	}
	return err
}

// URL is the table's place as it was given to Open, its scheme in small letters.
func (t *Table) URL() string { return t.url }

// Same reports whether two are the same table on one storage, however they were named.
func (t *Table) Same(other *Table) bool {
	return t.root == other.root && t.device == other.device && (t.cfg.FS == nil) == (other.cfg.FS == nil) && (t.cfg.FS == nil || t.fsys == other.fsys)
}

// StateDir is the folder with the table's staging, history, locks and configuration.
func (t *Table) StateDir() string { return t.store.StateDir() }

// listLayout lists the table's partitions: those that its metastore has, else the folders that are there. Declared are its
// partition columns, as far as they are known.
func (t *Table) listLayout(ctx context.Context, declared []Column) (*layout, error) {
	if t.catalog != nil {
		return t.catalogLayout(ctx, declared, false)
	}
	return discover(ctx, t.fsys, t.root, declared)
}

// listNames is listLayout without a look into the partitions' folders.
func (t *Table) listNames(ctx context.Context, declared []Column) (*layout, error) {
	if t.catalog != nil {
		return t.catalogLayout(ctx, declared, true)
	}
	return discoverNames(ctx, t.fsys, t.root, declared)
}

// listAnyhow is listLayout that leaves out what can't be read as part of the table, and says what.
func (t *Table) listAnyhow(ctx context.Context, declared []Column) (*layout, []error, error) {
	if t.catalog != nil {
		l, err := t.catalogLayout(ctx, declared, false)
		return l, nil, err
	}
	return discoverAnyhow(ctx, t.fsys, t.root, declared)
}

// folder is where the files of a partition are that was listed.
func (t *Table) folder(partition string, in swap.Inputs) string {
	if in.Folder != "" {
		return in.Folder
	}
	return path.Join(t.root, partition)
}

// newRunID names a run: the time it began, by which runs sort, and what tells apart those of one
// second. There are 65,536 of these, so two runs of one second may draw the same: a name that a run
// of the table has had is not given again.
func (t *Table) newRunID(ctx context.Context) (string, error) {
	for {
		var b [2]byte
		t.random(b[:])
		id := t.cfg.Now().UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
		_, err := t.store.RunPartitions(ctx, id)
		if errors.Is(err, swap.ErrNoVersion) {
			return id, nil
		}
		if err != nil {
			return "", err
		}
	}
}

func (t *Table) configBytes(ctx context.Context) ([]byte, error) {
	data, err := t.store.ReadConfig(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (t *Table) writeConfig(ctx context.Context, c TableConfig) error {
	data, err := c.encode()
	if err != nil {
		return err
	}
	return t.store.WriteConfig(ctx, data)
}
