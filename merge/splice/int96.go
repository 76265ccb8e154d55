package splice

import (
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

const (
	// sparkSchemaKey is the metadata in which Spark, of all versions, keeps its schema.
	sparkSchemaKey = "org.apache.spark.sql.parquet.row.metadata"
	// Int96Key says of the INT96 columns of a file that has no metadata of Spark what Spark's would: that they hold
	// whole microseconds.
	Int96Key    = "hupsert.int96"
	int96Micros = "micros"
)

// writesMicros reports whether the INT96 values of a file are whole microseconds. Spark has no finer timestamps, and uses
// years that a count of nanoseconds does not reach, 9999 above all; Hive and Impala write nanoseconds.
func writesMicros(keyValues []KeyValue) bool {
	return slices.ContainsFunc(keyValues, func(kv KeyValue) bool {
		return kv.Key == sparkSchemaKey || kv.Key == Int96Key && kv.Value == int96Micros
	})
}

// inMicros marks the INT96 columns of a schema.
func inMicros(n *column.Node) {
	if n.Leaf != nil && n.Leaf.Type == format.Int96 && n.Leaf.Annotation.Kind == column.None {
		n.Leaf.Annotation.Unit = 1e3
		n.Annotation = n.Leaf.Annotation
	}
	for _, child := range n.Children {
		inMicros(child)
	}
}

// markInt96 says in a footer of which unit the INT96 columns of the new schema are.
func markInt96(footer *tValue, o WriterOptions) {
	var nodes []*column.Node
	if o.Template == nil {
		nodes = o.Schema.Root.Children
	} else {
		for i, n := range o.Template.Schema().Root.Children {
			if other := o.Replace[i]; other != nil {
				n = other
			}
			nodes = append(nodes, n)
		}
		nodes = append(nodes, o.Append...)
	}
	micros, nanos := 0, 0
	for _, n := range nodes {
		countInt96(n, &micros, &nanos)
	}
	if entries := footer.field(5); entries != nil {
		entries.kids = slices.DeleteFunc(entries.kids, func(entry tValue) bool {
			key, _ := entry.binary(1)
			return key == Int96Key || nanos > 0 && key == sparkSchemaKey
		})
	}
	if micros > 0 && nanos == 0 {
		addKeyValues(footer, []KeyValue{{Key: Int96Key, Value: int96Micros}})
	}
}

func countInt96(n *column.Node, micros, nanos *int) {
	if n.Leaf != nil && n.Leaf.Type == format.Int96 {
		if n.Leaf.Annotation.Unit == 1e3 {
			*micros++
		} else {
			*nanos++
		}
	}
	for _, child := range n.Children {
		countInt96(child, micros, nanos)
	}
}
