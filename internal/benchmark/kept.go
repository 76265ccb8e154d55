//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// kept is a result as it is kept for the chart (testdata/bench/chart.py), together with what it was measured on.
type kept struct {
	Variant string
	Scale   string
	Writer  string
	result
}

// remember puts a result into results.json of the cache, in place of an earlier one of the same subject.
func remember(c config, v variant, r result) error {
	file := filepath.Join(c.Cache, "results.json")
	var all []kept
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("results of earlier runs, which may be removed: %w", err)
	}
	new := kept{Variant: v.Name, Scale: c.Scale, Writer: writerKind(), result: r}
	at := slices.IndexFunc(all, func(k kept) bool {
		return k.Variant == new.Variant && k.Scale == new.Scale && k.Writer == new.Writer && k.Case == new.Case
	})
	if at < 0 {
		all = append(all, new)
	} else {
		all[at] = new
	}
	if text, err = json.MarshalIndent(all, "", " "); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
