package job

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/hupsert/hupsert/partition"
)

// Init writes a job file for a table, with what is declared with it, and in comments what else such a file may hold. It is a job that
// [Load] takes.
func Init(d *partition.Description) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# yaml-language-server: $schema=%s", SchemaURL)
	line("# A job of hupsert: hupsert job check FILE tells what is wrong with it, hupsert run FILE runs it.")
	line("# ${NAME} is of the environment or of --set NAME=VALUE, ${NAME:-VALUE} has a value for when it is of neither.")
	line("")
	line("name: %s", scalar(strings.ReplaceAll(tableName(d.Table), ".", "-")))
	line("")
	line("steps:")
	line("  - table: %s", scalar(d.Table))
	initSource(line, d)
	initRows(line, d)
	initExpectations(line, d)
	initBackfill(line, d)
	initHooks(line, d)
	return b.String()
}

// initSource writes what comes in.
func initSource(line func(string, ...any), d *partition.Description) {
	line("    # Files, folders or globs, relative to where hupsert runs; ${JOB_DIR} is the folder of this file.")
	if len(d.PartitionBy) > 0 {
		line("    from: ${JOB_DIR}/in/${DAY:-*}/*.parquet")
		line("    # All rows belong to this partition (default: they go where their columns %s say).", names(d.PartitionBy))
		line("    # partition: %s", scalar(d.PartitionBy[0].Name+"=${DAY}"))
	} else {
		line("    from: ${JOB_DIR}/in/*.parquet")
	}
	line("    # format: csv")
	line("    # rejects: ${JOB_DIR}/rejects.ndjson")
	line("")
}

// initRows writes what becomes of the rows.
func initRows(line func(string, ...any), d *partition.Description) {
	if len(d.Key) > 0 {
		line("    # The key is declared with the table, and need not be said:")
		line("    # key: %s", list1(d.Key))
	} else {
		line("    # The columns that tell rows apart; once declared with the table (hupsert config --set key=...), it need not be said.")
		line("    key: %s", list1(firstNames(d.Columns)))
	}
	if len(d.OrderBy) > 0 {
		line("    # Of two rows with a key the larger wins; declared with the table too:")
		line("    # order-by: %s", list1(d.OrderBy))
	} else {
		line("    # Of two rows with a key the one that is larger in these columns wins.")
		line("    # order-by: [updated_at]")
	}
	line("    # upsert, insert, update, delete, mirror, replace or append")
	line("    mode: upsert")
	line("    # delete-when: op=D")
	line("    # new-columns: add")
	line("    # max-delete-ratio: 0.1")
	line("    lock-wait: 10m")
	line("    retry: 3")
	line("    # verify: full")
	line("    # Every other flag of hupsert upsert is a field too: hupsert upsert --help.")
	line("")
}

// initExpectations writes what may be expected of the table's columns.
func initExpectations(line func(string, ...any), d *partition.Description) {
	line("    # What must hold in every partition that changes, before anybody sees it: else nothing is published, exit code 5.")
	line("    # expect:")
	if len(d.Key) > 0 {
		line("    #   - unique: %s", list1(d.Key))
	}
	if c := firstNames(d.Columns); len(c) > 0 {
		line("    #   - not_null: %s", list1(c))
	}
	for _, c := range d.Columns {
		if numeric(c.Type) && !contains(d.Key, c.Name) {
			line("    #   - between: {column: %s, min: 0, max: 1000000}", scalar(c.Name))
			break
		}
	}
	for _, c := range d.Columns {
		if c.Type == "string" && !contains(d.Key, c.Name) {
			line("    #   - accepted_values: {column: %s, values: [a, b]}", scalar(c.Name))
			break
		}
	}
	line("    #   - row_count_change: -10%%..+50%%")
	line("    #   - sql: select * from staged where ...")
	line("")
}

// initBackfill writes a step of the other kind, for a table that has partitions.
func initBackfill(line func(string, ...any), d *partition.Description) {
	if len(d.PartitionBy) == 0 {
		return
	}
	var ranges, from []string
	for _, c := range d.PartitionBy {
		bounds := "${FIRST}..${LAST}"
		if c.Type == "string" {
			bounds = "a,b"
		}
		ranges, from = append(ranges, c.Name+"="+bounds), append(from, "{"+c.Name+"}")
	}
	line("  # A range of partitions, each from files of its own. Run again, it goes on where it was ended.")
	line("  # - command: backfill")
	line("  #   table: %s", scalar(d.Table))
	line("  #   from: ${JOB_DIR}/in/%s/*.parquet", strings.Join(from, "/"))
	line("  #   range: %s", list1(ranges))
	line("")
}

// initHooks writes who may be told.
func initHooks(line func(string, ...any), d *partition.Description) {
	line("# Who is told: published, noop, staged or failed. A hook that fails or hangs is a warning, and undoes nothing.")
	line("# hooks:")
	if strings.HasPrefix(d.Table, "hive://") {
		line("#   - on: published")
		line("#     command: [impala-shell, -q, 'REFRESH ${HUPSERT_TABLE_NAME}']")
		line("#     timeout: 1m")
	}
	line("#   - on: [published, failed]")
	line("#     url: https://chat.example.com/hooks/...")
	line(`#     body: '{"text": "${HUPSERT_STEP}: ${HUPSERT_EVENT} ${HUPSERT_ERROR}"}'`)
}

func numeric(kind string) bool {
	for _, prefix := range []string{"int", "bigint", "smallint", "tinyint", "decimal", "double", "float"} {
		if strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return false
}

// firstNames is the first column, which often is the key.
func firstNames(columns []partition.ColumnInfo) []string {
	if len(columns) == 0 {
		return []string{"id"}
	}
	return []string{columns[0].Name}
}

func names(columns []partition.ColumnInfo) string {
	var out []string
	for _, c := range columns {
		out = append(out, c.Name)
	}
	return strings.Join(out, ", ")
}

// list1 is a list in one line.
func list1(items []string) string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = scalar(item)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// scalar writes a text so that YAML, and a job's variables, read it back as it is.
func scalar(text string) string {
	out, err := yaml.MarshalWithOptions(text, yaml.Flow(true))
	plain := string(bytes.TrimSpace(out))
	if err != nil || strings.ContainsAny(text, "{}[],:#&*!|>'\"%@`\\\n") {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return plain
}
