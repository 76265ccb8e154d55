//go:build unix

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

func (c config) results() string { return filepath.Join(c.Cache, "results.json") }

// recall gives what was measured up to now, nothing where nothing was.
func recall(c config) (all []kept, err error) {
	text, err := os.ReadFile(c.results())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("results of earlier runs, which may be removed: %w", err)
	}
	return all, nil
}

// remember keeps a result in place of an earlier one of the same subject.
func remember(c config, v variant, r result) error {
	all, err := recall(c)
	if err != nil {
		return err
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
	slices.SortStableFunc(all, func(a, b kept) int { return cmp.Compare(a.place(), b.place()) })
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.results(), text, 0o644)
}

// place is where a result stands among those of all variants: tables and chart have the order of variants().
func (k kept) place() (n int) {
	for _, v := range variants() {
		for _, s := range v.subjects("", "") {
			if v.Name == k.Variant && s.Name == k.Case {
				return n
			}
			n++
		}
	}
	return n // of a change that is no more
}

// reprint prints the tables of what was measured at a scale.
func reprint(w io.Writer, c config) error {
	all, err := recall(c)
	if err != nil {
		return err
	}
	for _, v := range variants() {
		var results []result
		for _, k := range all {
			if k.Variant == v.Name && k.Scale == c.Scale && k.Writer == writerKind() {
				results = append(results, k.result)
			}
		}
		if err := printVariant(w, c, v, results); err != nil {
			return err
		}
	}
	return nil
}
