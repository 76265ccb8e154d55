package swap

import (
	"context"
	"slices"
)

// Lineage lists the versions that a live partition was made by, one upon the other, the last first. A version that was put
// back goes on with those that it was made by itself. It ends where the partition was not there, where somebody else had
// changed it, and where older versions were vacuumed; a partition that is not as it was published last has none. Versions
// have no Path, and what they are for counts: the caller knows which modes build upon what was there.
func (s *Store) Lineage(ctx context.Context, partition string, now Inputs) ([]Version, error) {
	claims, err := s.committed(ctx, partition)
	if err != nil || len(claims) == 0 || s.strayed(claims[len(claims)-1], now) != "" {
		return nil, err
	}
	var out []Version
	for i := len(claims) - 1; i >= 0; {
		c := claims[i]
		out = append(out, Version{Number: c.Version, Run: c.Run, Time: c.Manifest.Time, Mode: c.Manifest.Mode,
			Restores: c.Manifest.Restores, Absent: c.Absent, Mark: c.Manifest.Mark})
		switch to := c.Manifest.Restores; {
		case to != "":
			i = slices.IndexFunc(claims[:i], func(earlier claim) bool { return earlier.Run == to })
		case c.BeforeAbsent, i > 0 && c.Before != claims[i-1].Run:
			return out, nil
		default:
			i--
		}
	}
	return out, nil
}
