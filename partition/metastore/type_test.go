package metastore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/metastore"
)

// What a metastore says of columns is read as partition.ParseSchema reads it.
func TestTypes(t *testing.T) {
	for hive, want := range map[string]string{
		"tinyint": "tinyint", "smallint": "smallint", "int": "int", "INT": "int", "integer": "int", "bigint": "bigint",
		"float": "float", "double": "double", "double precision": "double", "boolean": "boolean", "binary": "binary", "string": "string",
		"date": "date", "timestamp": "timestamp", "timestamp with local time zone": "timestamp", "timestamp(6) with local time zone": "timestamp",
		"decimal": "decimal(10,0)", "decimal(12)": "decimal(12,0)", "decimal(38,18)": "decimal(38,18)", "decimal( 10 , 2 )": "decimal(10,2)",
		"char(3)": "char(3)", "varchar(65535)": "varchar(65535)",
		"array<int>": "array<int>", "map<string,array<decimal(3,1)>>": "map<string,array<decimal(3,1)>>",
		"struct<a:int,b:struct<c:string>>":                           "struct<a:int,b:struct<c:string>>",
		"struct<a-b:int,c d:string,`e:f`:date,g.h:map<int,char(2)>>": "struct<`a-b`:int,`c d`:string,`e:f`:date,`g.h`:map<int,string>>",
		"array<struct<x: timestamp with local time zone, y:int>>":    "array<struct<x:timestamp,y:int>>",
	} {
		text, err := metastore.Declaration([]metastore.Column{{Name: "größe $1", Type: hive}})
		if err != nil {
			t.Errorf("%s: %v", hive, err)
			continue
		}
		schema, err := partition.ParseSchema(text)
		if err != nil {
			t.Errorf("%s is %s: %v", hive, text, err)
			continue
		}
		if got := partition.FormatSchema(schema); got != "`größe $1` "+want {
			t.Errorf("%s is %s, not %s", hive, got, want)
		}
	}
}

func TestTypesThatParquetLacks(t *testing.T) {
	for _, hive := range []string{
		"uniontype<int,string>", "array<uniontype<int,string>>", "void", "interval_day_time", "geometry", "", "array", "array<>", "array<int,int>", "map<int>",
		"struct<>", "struct<int>", "struct<:int>", "decimal(39)", "decimal(0)", "decimal(4,5)", "decimal(1,2,3)", "char", "char(0)", "varchar(-1)", "varchar(x)", "int>", "int,", "array<int",
		strings.Repeat("array<", 70) + "int" + strings.Repeat(">", 70), "struct<a`b:int>", "struct<`a>",
	} {
		_, err := metastore.Declaration([]metastore.Column{{Name: "c", Type: hive}})
		var e *metastore.Error
		if !errors.Is(err, metastore.ErrSchema) || !errors.As(err, &e) || e.Column != "c" || e.Hint == "" {
			t.Errorf("%s: %v", hive, err)
		}
	}
}

// Columns that a source brings are told to the metastore in its own words.
func TestHiveTypes(t *testing.T) {
	for text, want := range map[string]string{
		"bigint": "bigint", "timestamp": "timestamp", "timestamp(9)": "timestamp", "timestamp_ntz": "timestamp", "timestamp_ntz(3)": "timestamp", "decimal(5,1)": "decimal(5,1)",
		"varchar(4)": "varchar(4)", "struct<`a b`:int,c:array<date>>": "struct<a b:int,c:array<date>>", "map<string,double>": "map<string,double>",
	} {
		if got, err := metastore.HiveType(text); err != nil || got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"ubigint", "timestamp[us]", "duration"} {
		if got, err := metastore.HiveType(text); !errors.Is(err, metastore.ErrSchema) {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
}

func FuzzTypes(f *testing.F) {
	for _, seed := range []string{"struct<a:int,`b c`:map<string,decimal(3,1)>>", "timestamp(3) with local time zone", "array<char(2)>", "decimal(10,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, hive string) {
		text, err := metastore.Declaration([]metastore.Column{{Name: "c", Type: hive}})
		if err != nil {
			return
		}
		schema, err := partition.ParseSchema(text)
		if err != nil {
			t.Fatalf("%q is %q: %v", hive, text, err)
		}
		again, err := metastore.HiveType(strings.TrimPrefix(text, "`c` "))
		if err != nil {
			t.Fatalf("%q is %q: %v", hive, text, err)
		}
		second, err := metastore.Declaration([]metastore.Column{{Name: "c", Type: again}})
		if err != nil || second != text {
			t.Fatalf("%q is %q, then %q: %v", hive, text, second, err)
		}
		_ = schema
	})
}
