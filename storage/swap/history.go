package swap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage/stage"
)

// originName names the state of a partition before the first run.
const originName = "origin"

// Version is one version of a partition, oldest first in a history.
type Version struct {
	Number   int64 // 0 for what was there before a run of ours
	Run      string
	Time     time.Time
	Command  string
	Mode     string
	Restores string // the run whose version a rollback put back
	Rows     int64  // -1: not known
	Files    int
	Bytes    int64
	Live     bool
	Absent   bool   // in this version the partition is not there
	Foreign  bool   // made by somebody else
	Path     string // where its files are; "" where they are gone or the version is Absent
	Sources  []string
	Detail   json.RawMessage // as the Manifest had it; nil where the run left none
	Mark     string          // what its run left with it
}

// History lists the versions of a partition, oldest first; the last is live. A partition no run of
// ours has touched has none.
func (s *Store) History(ctx context.Context, partition string) ([]Version, error) {
	claims, err := s.committed(ctx, partition)
	if err != nil {
		return nil, err
	}
	return s.told(ctx, partition, claims)
}

// told are the versions that claims tell of, with the one before them.
func (s *Store) told(ctx context.Context, partition string, claims []claim) ([]Version, error) {
	var out []Version
	for i, c := range claims {
		if i == 0 || c.Before != claims[i-1].Run {
			out = append(out, Version{Run: c.Before, Rows: -1, Files: c.BeforeFiles, Bytes: c.BeforeBytes,
				Absent: c.BeforeAbsent, Foreign: true})
		}
		m := c.Manifest
		out = append(out, Version{Number: c.Version, Run: c.Run, Time: m.Time, Command: m.Command, Mode: m.Mode,
			Restores: m.Restores, Rows: m.Rows, Files: len(m.Files), Bytes: m.Bytes, Absent: c.Absent, Sources: m.Sources,
			Detail: m.Detail, Mark: m.Mark})
	}
	for i := range out {
		out[i].Live = i == len(out)-1
	}
	return out, s.locate(ctx, partition, claims, out)
}

// locate finds the folders of versions. Where a partition was switched by path, its old folder went to the
// history; where the registry was told of a new one, it stayed.
func (s *Store) locate(ctx context.Context, partition string, claims []claim, versions []Version) error {
	after := make([]int, len(versions)) // the claim that came after each
	for i, next := 0, 0; i < len(versions); i++ {
		for v := versions[i]; v.Number != 0 && next < len(claims) && claims[next].Version <= v.Number; {
			next++
		}
		after[i] = next
	}
	return s.each(len(versions), func(i int) (err error) {
		if v := &versions[i]; !v.Absent {
			v.Path, err = s.whereIs(ctx, partition, *v, claims, after[i])
		}
		return err
	})
}

// whereIs is the folder of a version, "" where it is gone; claims from next on came after it.
func (s *Store) whereIs(ctx context.Context, partition string, v Version, claims []claim, next int) (string, error) {
	var own string // where it was published, if it stays there
	if v.Number != 0 {
		own = claims[next-1].Folder
	}
	if next == len(claims) { // it is live
		if own == "" {
			own = s.live(partition)
		}
		return s.ifThere(ctx, own)
	}
	after := claims[next]
	switch {
	case own != "" && after.Before != v.Run && after.BeforeFolder == own:
		return "", nil // somebody else has overwritten it in its place
	case own != "":
		return s.ifThere(ctx, own)
	case after.BeforeFolder == "": // switched by path
		return s.ifThere(ctx, s.history(partition, v.Run))
	case after.Before != v.Run:
		return "", nil // overwritten in its place
	}
	// It stayed, unless a switch by path came later and moved it.
	places := []string{after.BeforeFolder}
	for _, c := range claims[next+1:] {
		if c.BeforeFolder == "" {
			places = append(places, s.history(partition, c.Before))
		}
	}
	for _, name := range places {
		if id, err := s.idOf(ctx, name); err != nil || id == after.BeforeID {
			return name, err
		}
	}
	return "", nil
}

// ifThere is a name, "" where nothing has it.
func (s *Store) ifThere(ctx context.Context, name string) (string, error) {
	ok, err := s.exists(ctx, name)
	if err != nil || !ok {
		return "", err
	}
	return name, nil
}

// strayed says how a partition differs from the version we published last, "" where it does not.
func (s *Store) strayed(last claim, now Inputs) string {
	switch {
	case s.o.Registry == nil:
	case last.Absent:
	case now.Folder == "":
		return "it is not in the metastore"
	case last.Folder != "" && now.Folder != last.Folder:
		return "the metastore has it at " + now.Folder
	}
	if last.Absent != now.Absent {
		return cameOrWent
	}
	return differingFile(last.Manifest.Files, now.Files)
}

// olderVersion tells a partition that the registry has at a version of ours which is not the one committed
// last: who wrote the registry came too late, or somebody else put it there. What was written into such a
// folder since makes it somebody else's.
func (s *Store) olderVersion(claims []claim, now Inputs) string {
	if now.Folder == "" || len(claims) == 0 {
		return ""
	}
	for _, c := range claims[:len(claims)-1] {
		if c.Folder == now.Folder && differingFile(c.Manifest.Files, now.Files) == "" {
			return fmt.Sprintf("the metastore has it at version %d, and version %d is committed; hupsert recover puts that right",
				c.Version, claims[len(claims)-1].Version)
		}
	}
	return ""
}

// SetBackError says that a registry has a partition in a folder where it was before versions of ours, whose rows readers do not
// see: a program may have written back what it had read before them, or somebody may have meant it. It matches ErrConflict
// and ErrSetBack.
type SetBackError struct {
	Partition string
	Folder    string
	First     string // the first run whose version is passed by
	Last      string // the last one
}

func (e *SetBackError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrSetBack, display(e.Partition), e.Missing())
}

// Missing says what the partition lacks.
func (e *SetBackError) Missing() string {
	runs := "run " + e.First + " changed"
	if e.First != e.Last {
		runs = "runs " + e.First + " to " + e.Last + " changed"
	}
	return fmt.Sprintf("the metastore has it at %s, as before run %s: what %s is not in it, but in the history", e.Folder, e.First, runs)
}

// Unwrap makes it match ErrConflict and ErrSetBack.
func (e *SetBackError) Unwrap() []error { return []error{ErrConflict, ErrSetBack} }

// SetBack says whether a partition, as it was read, was set back by its registry; nil: it was not.
func (s *Store) SetBack(ctx context.Context, partition string, now Inputs) (*SetBackError, error) {
	if s.o.Registry == nil || now.Folder == "" {
		return nil, nil
	}
	newest, err := s.newestClaim(ctx, partition)
	if err != nil || newest == 0 || now.Folder == s.version(partition, newest) {
		return nil, err // as it should be: what comes before is not read
	}
	last, err := s.lastCommitted(ctx, partition)
	if err != nil || last == nil || now.Folder == s.publishedAt(partition, *last) {
		return nil, err // published by its path
	}
	claims, err := s.committed(ctx, partition)
	if err != nil || len(claims) == 0 || s.olderVersion(claims, now) != "" {
		return nil, err // unchanged since it was ours, it is helped forward
	}
	return s.setBack(partition, claims, now), nil
}

// setBack is SetBack for who has read the claims.
func (s *Store) setBack(partition string, claims []claim, now Inputs) *SetBackError {
	if s.o.Registry == nil || now.Folder == "" || len(claims) == 0 {
		return nil
	}
	last := claims[len(claims)-1]
	if last.Folder == "" || last.Folder == now.Folder {
		return nil
	}
	for i, c := range claims {
		switch {
		case c.Folder == now.Folder:
			i++ // it is not missing itself
		case c.BeforeFolder != now.Folder || c.BeforeAbsent || c.BeforeID != now.ID && !now.Absent: // made anew, it is no folder of then
			continue
		}
		return &SetBackError{Partition: partition, Folder: now.Folder, First: claims[i].Run, Last: last.Run}
	}
	return nil
}

// Changed says how the live partition differs from the version we published last, "" where it does
// not or where we never published it.
func (s *Store) Changed(ctx context.Context, partition string) (string, error) {
	now, err := s.Inputs(ctx, partition)
	if err != nil {
		return "", err
	}
	return s.changedTo(ctx, partition, now)
}

func (s *Store) changedTo(ctx context.Context, partition string, now Inputs) (string, error) {
	last, err := s.lastCommitted(ctx, partition)
	if err != nil || last == nil {
		return "", err
	}
	return s.strayed(*last, now), nil
}

// Restore is a partition to put back to an earlier version.
type Restore struct {
	Partition string
	To        string // the run that made the version, or origin
	// Undoes, in place of To, is a run: the version before it comes back. Where another run has changed
	// the partition since, that is an *OvertakenError.
	Undoes string
}

// OvertakenError says that a run can't be undone by itself, since others have changed its partitions
// after it. It matches ErrConflict.
type OvertakenError struct {
	Run   string
	Later []Later // by partition
}

// Later is a partition that runs have changed since.
type Later struct {
	Partition string
	Runs      []string
}

func (e *OvertakenError) Error() string {
	by := map[string][]string{} // the runs as a text: their partitions
	var order []string
	for _, l := range e.Later {
		runs := "run " + l.Runs[0]
		if n := len(l.Runs); n > 1 {
			runs = "runs " + strings.Join(l.Runs[:n-1], ", ") + " and " + l.Runs[n-1]
		}
		if by[runs] == nil {
			order = append(order, runs)
		}
		by[runs] = append(by[runs], l.Partition)
	}
	var parts []string
	for _, runs := range order {
		parts = append(parts, fmt.Sprintf("%s changed %s after it", runs, names(by[runs])))
	}
	return fmt.Sprintf("run %s can't be undone by itself: %s", e.Run, strings.Join(parts, "; "))
}

// Unwrap makes it match ErrConflict.
func (e *OvertakenError) Unwrap() error { return ErrConflict }

// Rollback puts partitions back to earlier versions, all in one commit. It is a run like any other,
// itself undoable. A partition that is not the one published last is refused with ErrConflict, unless
// force, which keeps the live one as a version of its own.
func (s *Store) Rollback(ctx context.Context, list []Restore, force bool, runID, command string) (_ []Published, err error) {
	partitioned := len(list) > 0 && list[0].Partition != ""
	run, err := s.Begin(ctx, runID, command, partitioned)
	if err != nil {
		return nil, err
	}
	defer func() { err = run.ended(ctx, err) }()
	partitions := make([]string, len(list))
	for i, r := range list {
		partitions[i] = r.Partition
	}
	if err := run.Lease(ctx, partitions); err != nil {
		return nil, err
	}
	if _, err := s.Recover(ctx, partitions); err != nil {
		return nil, err
	}
	// Under the leases: nobody comes between the look and the commit.
	if list, err = s.undone(ctx, list, force); err != nil {
		return nil, err
	}
	inputs, err := s.InputsOf(ctx, partitions)
	if err != nil {
		return nil, err
	}
	var publications []Publication
	for _, r := range list {
		p, err := run.restore(ctx, r, inputs[r.Partition], force)
		if err != nil {
			return nil, err
		}
		publications = append(publications, p)
	}
	run.ignoreSetBack = force
	return run.Publish(ctx, publications)
}

// undone settles which versions come back where runs are to be undone.
func (s *Store) undone(ctx context.Context, list []Restore, force bool) ([]Restore, error) {
	list = slices.Clone(list)
	overtaken := &OvertakenError{}
	for i, r := range list {
		if r.Undoes == "" {
			continue
		}
		versions, err := s.History(ctx, r.Partition)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(versions, func(v Version) bool { return v.Run == r.Undoes })
		if at < 1 {
			return nil, fmt.Errorf("%w: run %s did not publish %s", ErrNoVersion, r.Undoes, display(r.Partition))
		}
		list[i].To = versions[at-1].Run
		if later := after(versions, at); len(later) > 0 && !force {
			overtaken.Run = r.Undoes
			overtaken.Later = append(overtaken.Later, Later{r.Partition, later})
		}
	}
	if len(overtaken.Later) > 0 {
		slices.SortFunc(overtaken.Later, func(a, b Later) int { return strings.Compare(a.Partition, b.Partition) })
		return nil, overtaken
	}
	return list, nil
}

// after lists the runs whose changes of a partition would go with those of version at: none where a
// rollback has put that version back.
func after(versions []Version, at int) (runs []string) {
	live := len(versions) - 1
	for i := live; versions[i].Restores != ""; {
		i = slices.IndexFunc(versions[:i], func(v Version) bool { return v.Run == versions[i].Restores })
		if i < 0 {
			break
		}
		live = i
	}
	if live == at {
		return nil
	}
	for _, v := range versions[at+1:] {
		runs = append(runs, v.Run)
	}
	return runs
}

// restore stages the files of an earlier version, linked: the version itself stays in the history.
func (r *Run) restore(ctx context.Context, to Restore, now Inputs, force bool) (Publication, error) {
	s := r.store
	p := Publication{Partition: to.Partition, Inputs: now}
	changed, err := s.changedTo(ctx, to.Partition, now)
	if err != nil {
		return p, err
	}
	if changed != "" && !force {
		return p, fmt.Errorf("%w: %s: %s since it was published",
			ErrConflict, display(to.Partition), changed)
	}
	versions, err := s.History(ctx, to.Partition)
	if err != nil {
		return p, err
	}
	// The one published last comes back where the registry does not have it any more.
	at := slices.IndexFunc(versions, func(v Version) bool { return v.Run == to.To && (!v.Live || changed != "" && v.Path != now.Folder) })
	if at < 0 {
		return p, fmt.Errorf("%w: %s has no earlier version %s", ErrNoVersion, display(to.Partition), to.To)
	}
	v := versions[at]
	p.Manifest = stage.Manifest{Run: r.id, Partition: to.Partition, Command: r.command, Restores: v.Run,
		Time: s.o.Clock().UTC(), Rows: v.Rows}
	if v.Absent {
		return p, nil
	}
	if v.Path == "" {
		return p, fmt.Errorf("%w: the files of version %s of %s are gone", ErrNoVersion, v.Run, display(to.Partition))
	}
	files, err := stage.List(ctx, s.fsys, v.Path)
	if err == nil && !force {
		err = s.asPublished(ctx, to.Partition, v, files)
	}
	if err != nil {
		return p, err
	}
	if p.Dir, err = r.Stage(ctx, to.Partition); err != nil {
		return p, err
	}
	for _, f := range files {
		if _, err := p.Dir.Keep(ctx, path.Join(v.Path, f.Name), f.Name); err != nil {
			return p, err
		}
	}
	p.Manifest, err = p.Dir.Seal(ctx, p.Manifest)
	return p, err
}

// asPublished checks that the files of an earlier version are those that a run of ours made: somebody may have written into its
// folder since.
func (s *Store) asPublished(ctx context.Context, partition string, v Version, files []stage.File) error {
	claims, err := s.committed(ctx, partition)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(claims, func(c claim) bool { return c.Run == v.Run && c.Version == v.Number })
	if at < 0 {
		return nil // somebody else's: nobody wrote down what it was
	}
	if diff := differingFile(claims[at].Manifest.Files, files); diff != "" {
		return fmt.Errorf("%w: %s: version %s is not as it was published: %s", ErrConflict, display(partition), v.Run, diff)
	}
	return nil
}

// RunPartitions lists the partitions a run published.
func (s *Store) RunPartitions(ctx context.Context, run string) ([]string, error) {
	for _, at := range []place{committed, done} { // the order in which a record moves
		rec, err := s.readRecord(ctx, at, run)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return rec.partitions(), nil
	}
	return nil, fmt.Errorf("%w: no run %s", ErrNoVersion, run)
}

// HistorySize is what old versions of partitions take that Vacuum can remove: bytes not shared with the live files are not told
// apart, so it is an upper bound. Without partitions it is of all that have a history.
func (s *Store) HistorySize(ctx context.Context, partitions ...string) (bytes int64, versions int, err error) {
	if len(partitions) == 0 {
		if partitions, err = s.Partitions(ctx); err != nil {
			return 0, 0, err
		}
	}
	all := make([][]Version, len(partitions))
	err = s.each(len(partitions), func(i int) (err error) {
		all[i], err = s.kept(ctx, partitions[i])
		return err
	})
	for _, of := range all {
		for i, v := range of {
			if !v.Live && v.Path != "" && s.isState(v.Path) && !usedAgain(of[i+1:], v.Path) {
				bytes += v.Bytes
				versions++
			}
		}
	}
	return bytes, versions, err
}

// kept is the end of a partition's history, from the oldest version on of which the state has a folder: claims of what was vacuumed
// are not read.
func (s *Store) kept(ctx context.Context, partition string) ([]Version, error) {
	folders := map[string]bool{}
	for _, dir := range []string{historyDir, versionDir} {
		list, err := s.listed(ctx, path.Join(dir, partition))
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			folders[path.Join(s.state, dir, partition, i.Name)] = true
		}
	}
	if len(folders) == 0 {
		return nil, nil
	}
	var claims []claim
	for c, err := range s.committedFirst(ctx, partition) {
		if err != nil {
			return nil, err
		}
		claims = append(claims, c)
		if len(folders) == 0 {
			break // this one is of the oldest, or of one that is gone
		}
		for _, name := range []string{c.Folder, c.BeforeFolder, s.history(partition, c.Before)} {
			delete(folders, name)
		}
	}
	slices.Reverse(claims)
	return s.told(ctx, partition, claims)
}
