package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/goccy/go-yaml"
)

// TableConfig is what is declared with a table, kept as table.yaml in its state folder, so that
// daily jobs need no flags for it. The zero value declares nothing.
type TableConfig struct {
	Key         []string `yaml:"key,omitempty" json:"key,omitempty"`
	OrderBy     []string `yaml:"order-by,omitempty" json:"order_by,omitempty"`         // "updated_at" or "updated_at:desc"
	PartitionBy []string `yaml:"partition-by,omitempty" json:"partition_by,omitempty"` // "dt:date"; string where no type is given
	Schema      string   `yaml:"schema,omitempty" json:"schema,omitempty"`             // as ParseSchema reads it, without the partition columns
	// KeepHistory is how long earlier versions are kept ("168h"): each run then removes older ones.
	// Empty: until vacuum.
	KeepHistory string `yaml:"keep-history,omitempty" json:"keep_history,omitempty"`
}

// settings are the names `config --set` knows, each with how its text becomes part of the
// configuration.
var settings = map[string]func(c *TableConfig, value string){
	"key":          func(c *TableConfig, v string) { c.Key = splitList(v) },
	"order-by":     func(c *TableConfig, v string) { c.OrderBy = splitList(v) },
	"partition-by": func(c *TableConfig, v string) { c.PartitionBy = splitList(v) },
	"schema":       func(c *TableConfig, v string) { c.Schema = v },
	"keep-history": func(c *TableConfig, v string) { c.KeepHistory = v },
}

// splitList splits "a, b" at its commas; nil for "".
func splitList(text string) []string {
	var out []string
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// parseConfig reads table.yaml. Unknown fields, duplicate ones and bad values are errors: a misspelt
// key must not be a table without one.
func parseConfig(data []byte) (TableConfig, error) {
	var c TableConfig
	if len(bytes.TrimSpace(data)) == 0 {
		return c, nil
	}
	if err := decodeStrictly(data, &c); err != nil {
		return c, fault(ErrUsage, "table.yaml: %v", err).hint("correct the file, or remove it and declare anew with hupsert config --set")
	}
	return c, c.validate()
}

// decodeStrictly reads one YAML document whose fields must all be known. The decoder panics on some
// malformed documents, so a panic is an error here.
func decodeStrictly(data []byte, into any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed document: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return errors.New(yaml.FormatError(err, false, false))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

// validate reports every bad field, joined under ErrUsage.
func (c *TableConfig) validate() error {
	var errs []error
	if _, err := parseOrderBy(c.OrderBy); err != nil {
		errs = append(errs, err)
	}
	columns, err := ParseColumns(c.PartitionBy)
	if err != nil {
		errs = append(errs, err)
	}
	if c.Schema != "" {
		if schema, err := ParseSchema(c.Schema); err != nil {
			errs = append(errs, err)
		} else {
			for _, column := range columns {
				if len(foldIndices(schema, column.Name)) > 0 {
					errs = append(errs, fmt.Errorf("schema: %s is a partition column: it is not stored in the files", column.Name))
				}
			}
		}
	}
	if d, err := c.keep(); err != nil {
		errs = append(errs, fmt.Errorf("keep-history %q: want a duration such as 168h", c.KeepHistory))
	} else if d < 0 {
		errs = append(errs, fmt.Errorf("keep-history %q: must not be negative", c.KeepHistory))
	}
	if len(errs) == 0 {
		return nil
	}
	return fault(ErrUsage, "table configuration: %s", strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; "))
}

// keep is how long history is kept; 0 where nothing is declared.
func (c *TableConfig) keep() (time.Duration, error) {
	if c.KeepHistory == "" {
		return 0, nil
	}
	return time.ParseDuration(c.KeepHistory)
}

// ReadConfig reads what is declared with the table, in its state folder or in its metastore; the zero value where
// nothing is.
func (t *Table) ReadConfig(ctx context.Context) (TableConfig, error) {
	if t.catalog != nil {
		c, err := t.catalogConfig(ctx)
		return c, locate(err, "", StepOpen)
	}
	data, err := t.configBytes(ctx)
	if err != nil {
		return TableConfig{}, locate(err, "", StepOpen)
	}
	c, err := parseConfig(data)
	return c, locate(err, "", StepOpen)
}

// SetConfig changes what is declared: names are key, order-by, partition-by, schema and
// keep-history, values as the flags of the same names take them; an empty value removes the
// declaration. It returns the whole configuration as it is then.
func (t *Table) SetConfig(ctx context.Context, set map[string]string) (TableConfig, error) {
	t.declaring.Lock()
	defer t.declaring.Unlock()
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return c, err
	}
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		apply, ok := settings[name]
		if !ok {
			return c, locate(fault(ErrUsage, "configuration has no %q", name).
				hint("it has key, order-by, partition-by, schema and keep-history"), "", StepOpen)
		}
		apply(&c, set[name])
	}
	if t.catalog != nil {
		if err := onlyProperties(set); err != nil {
			return c, locate(err, "", StepOpen)
		}
	}
	if err := c.validate(); err != nil {
		return c, locate(err, "", StepOpen)
	}
	_, ordered := set["order-by"]
	if err := t.checkColumns(ctx, c, ordered); err != nil {
		return c, locate(err, "", StepOpen)
	}
	if t.catalog != nil {
		return c, locate(t.setProperties(ctx, set), "", StepPublish)
	}
	return c, locate(t.writeConfig(ctx, c), "", StepPublish)
}

// checkColumns checks that a table with files has the key columns, and the version columns where they are being set: one that
// only sources have may have been declared before this was checked, and must not stop that something else is declared.
func (t *Table) checkColumns(ctx context.Context, c TableConfig, ordered bool) error {
	l, err := t.discover(ctx, c)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s, err := t.tableSchema(ctx, l, c, "")
	if err != nil || s == nil {
		return err
	}
	s = withPartitions(s, l.columns)
	for _, k := range c.Key {
		if !hasPath(s, k) {
			return fault(ErrUsage, "key: the table has no column %s", k).hint("its columns: %s", FormatSchema(s))
		}
	}
	if !ordered {
		return nil
	}
	versions, err := parseOrderBy(c.OrderBy)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if !hasPath(s, v.Column) {
			return fault(ErrUsage, "order-by: the table has no column %s", v.Column).
				hint("its columns: %s; --order-by with a run orders by a column that only its source has", FormatSchema(s))
		}
	}
	return nil
}

// hasPath reports whether a schema has a column, or the struct that a path to a field begins with.
func hasPath(s *arrow.Schema, path string) bool {
	head, _, _ := strings.Cut(path, ".")
	return len(foldIndices(s, path)) > 0 || len(foldIndices(s, head)) > 0
}

func (c *TableConfig) encode() ([]byte, error) { return yaml.Marshal(c) }
