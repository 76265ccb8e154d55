package swap

import (
	"context"
	"iter"
)

// Lineage gives the versions that a live partition was made by, one upon the other, the last first. A version that was put
// back goes on with those that it was made by itself. It ends where the partition was not there, where somebody else had
// changed it, and with an error; a partition that is not as it was published last has none. Versions have no Path. Each is
// read when it is asked for: the caller knows which modes build upon what was there.
func (s *Store) Lineage(ctx context.Context, partition string, now Inputs) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		last, next, restored := true, "", false // next is the run to go on with
		for c, err := range s.committedFirst(ctx, partition) {
			switch {
			case err != nil:
				yield(Version{}, err)
				return
			case last && s.strayed(c, now) != "":
				return
			case !last && c.Run != next && restored:
				continue
			case !last && c.Run != next:
				return
			}
			m := c.Manifest
			if !yield(Version{Number: c.Version, Run: c.Run, Time: m.Time, Mode: m.Mode, Restores: m.Restores, Absent: c.Absent, Mark: m.Mark}, nil) {
				return
			}
			last, restored = false, m.Restores != ""
			switch {
			case restored:
				next = m.Restores
			case c.BeforeAbsent:
				return
			default:
				next = c.Before
			}
		}
	}
}
