package orders

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
)

// HiveColumns are the names and Hive types of the table's columns, in their order. Its partition column is dt, a date.
func HiveColumns() [][2]string {
	var columns [][2]string
	for _, f := range schemaOf(false).Fields() {
		columns = append(columns, [2]string{f.Name, hiveType(f.Type)})
	}
	return columns
}

func hiveType(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.Int64Type:
		return "bigint"
	case *arrow.Int32Type:
		return "int"
	case *arrow.StringType:
		return "string"
	case *arrow.BooleanType:
		return "boolean"
	case *arrow.TimestampType:
		return "timestamp"
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	}
	panic("orders: no Hive type for " + t.String())
}
