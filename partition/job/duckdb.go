package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/partition"
)

// duckDB is the program that runs queries.
const duckDB = "duckdb"

// findDuckDB gives the program's path, before anything is merged for it.
func findDuckDB(e *Expectation) (string, error) {
	program, err := exec.LookPath(duckDB)
	if err == nil {
		return program, nil
	}
	return "", &partition.Error{Kind: partition.KindUsage, Err: fmt.Errorf("the expectation %s needs the program duckdb: %w", e, err),
		Hint: "install duckdb's command line and put it into PATH, or take the expectation out"}
}

// query runs an expectation's SQL. The rows that it gives are too many.
func (a *auditor) query(ctx context.Context, e *Expectation, out *ExpectationReport) error {
	program, err := findDuckDB(e)
	if err != nil {
		return err
	}
	view, err := a.stagedView()
	if err != nil || view == "" { // nothing is left
		return err
	}
	query := strings.TrimRight(strings.TrimSpace(e.SQL), "; \n")
	script := fmt.Sprintf("create temp view staged as %s;\nselect *, count(*) over () as hupsert_rows from (\n%s\n) limit %d;\n", view, query, samples)
	text, err := runQuery(ctx, program, script)
	if err != nil {
		return err
	}
	return out.take(text)
}

// runQuery gives what the program writes as JSON.
func runQuery(ctx context.Context, program, script string) ([]byte, error) {
	var text bytes.Buffer
	var said tail
	cmd := exec.CommandContext(ctx, program, "-init", os.DevNull, "-bail", "-json", ":memory:")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &text, &said
	end := groupOf(cmd)
	cmd.WaitDelay = outputDelay
	err := cmd.Run()
	end()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil && len(said.kept) == 0 {
		return text.Bytes(), nil
	}
	reason := strings.TrimSpace(string(said.kept))
	if reason == "" {
		reason = err.Error()
	}
	return nil, &partition.Error{Kind: partition.KindUsage, Err: errors.New("duckdb: " + shorten(strings.Join(strings.Fields(reason), " "), 500)),
		Hint: "the query is of the table staged, with its partition columns; duckdb runs it by itself too, on the staged folders"}
}

// take reads rows as duckdb writes them.
func (r *ExpectationReport) take(text []byte) error {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || bytes.Equal(text, []byte("[{]")) || bytes.Equal(text, []byte("[]")) {
		return nil
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		return fmt.Errorf("duckdb's answer: %w", err)
	}
	for _, raw := range rows {
		row, n, err := rowOf(raw)
		if err != nil {
			return err
		}
		r.Rows = n
		r.Samples = append(r.Samples, Sample{Value: row})
	}
	return nil
}

// rowOf reads a JSON object in its order, and the count that stands with it.
func rowOf(raw json.RawMessage) (row partition.Row, n int64, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, 0, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, 0, err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, 0, err
		}
		if name == "hupsert_rows" {
			if err := json.Unmarshal(v, &n); err != nil {
				return nil, 0, err
			}
			continue
		}
		row = append(row, partition.Cell{Column: fmt.Sprint(name), Value: v})
	}
	return row, n, nil
}

// stagedView is the staged partitions as a query; "" where no row is left.
func (a *auditor) stagedView() (string, error) {
	var parts []string
	for _, p := range a.view.Partitions {
		if len(p.Files) == 0 {
			continue
		}
		var files []string
		for _, f := range p.Files {
			if strings.Contains(f, "://") {
				return "", &partition.Error{Kind: partition.KindUsage, Partition: p.Partition, Err: errors.New("the staged files are not on this machine, and duckdb reads only those that are"),
					Hint: "take the expectation with sql out for tables on HDFS"}
			}
			files = append(files, literal(f))
		}
		columns := "*"
		for _, pair := range p.Spec {
			if slices.ContainsFunc(p.Schema.Fields(), func(f arrow.Field) bool { return strings.EqualFold(f.Name, pair.Column) }) {
				continue // the files have it
			}
			columns += ", " + a.constant(pair) + " as " + identifier(pair.Column)
		}
		parts = append(parts, fmt.Sprintf("select %s from read_parquet([%s], union_by_name = true, hive_partitioning = false)", columns, strings.Join(files, ", ")))
	}
	return strings.Join(parts, "\nunion all by name\n"), nil
}

// constant is a partition's value in SQL, in the column's type.
func (a *auditor) constant(pair partition.Pair) string {
	kind := "varchar"
	for _, c := range a.view.Columns {
		if strings.EqualFold(c.Name, pair.Column) {
			kind = partition.TypeName(c.Type)
		}
	}
	switch kind {
	case "string":
		kind = "varchar"
	case "binary":
		kind = "blob"
	}
	if pair.Null {
		return "cast(null as " + kind + ")"
	}
	return "cast(" + literal(pair.Value) + " as " + kind + ")"
}

func literal(text string) string    { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
func identifier(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
