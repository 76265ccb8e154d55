package partition

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// checkedCases: of so many random upserts the table of one is checked.
const checkedCases = 20

// checkChecked holds Check against the table of a random upsert: nothing is wrong with it but keys that stand
// twice, which are as many as counted one by one, with and without memory to count them in.
func (c *randomCase) checkChecked() error {
	want := map[string]int64{}
	files, err := c.files()
	if err != nil {
		return err
	}
	seen := map[string]map[string]bool{}
	for name, info := range files {
		rows, err := c.read(name, info.Size)
		if err != nil {
			return err
		}
		at := strings.TrimPrefix(strings.TrimPrefix(path.Dir(name), randomRoot), "/")
		if seen[at] == nil {
			seen[at] = map[string]bool{}
		}
		for _, x := range rows {
			key, null := c.key(x)
			switch {
			case null:
				want[string(FoundNullKeys)+" "+at]++
			case seen[at][key]:
				want[string(FoundDuplicateKeys)+" "+at]++
			}
			seen[at][key] = seen[at][key] || !null
		}
	}
	for _, o := range []CheckOptions{{}, {Quick: true, Memory: 1, TempDir: c.dir}, {Memory: 20_000, TempDir: c.dir, Parallel: 1}} {
		o.Key = c.o.Key
		rep, err := c.table.Check(context.Background(), o)
		switch {
		case err != nil && len(files) == 0:
			continue // a table that was not made
		case err != nil:
			return fmt.Errorf("check: %w", err)
		}
		got := map[string]int64{}
		for _, f := range rep.Findings {
			switch {
			case f.Kind == FoundDuplicateKeys, f.Kind == FoundNullKeys:
				got[string(f.Kind)+" "+f.Partition] = f.Count
			case f.Kind == FoundWrongStats && (strings.Contains(f.Column, ".list.") || strings.Contains(f.Column, ".key_value.")):
				// Arrow's Go writer (17.0.0) states wrong bounds of lists and maps with NULL in them.
			case f.Severity == SeverityError, f.Kind != FoundDrift && f.Kind != FoundFragments:
				return fmt.Errorf("check found %+v", f)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("check %+v found %v, want %v", o, got, want)
		}
	}
	return nil
}
