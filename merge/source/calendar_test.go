package source

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// withKeys writes one batch with key-value metadata, as Spark does.
func withKeys(t testing.TB, rec arrow.Record, keys map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &buf, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	for k, v := range keys {
		if err := w.AppendKeyValueMetadata(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestJulianCalendar(t *testing.T) {
	spark35 := map[string]string{keySparkVersion: "3.5.1", keySparkSchema: "{}"}
	legacy := map[string]string{keySparkVersion: "3.5.1", keySparkSchema: "{}", keyLegacyTime: ""}
	spark24 := map[string]string{keySparkSchema: "{}"}
	old := `[{"d":"2024-01-01"},{"d":null},{"d":"1500-01-01"}]`
	recent := `[{"d":"1582-10-15"}]`
	for _, c := range []struct {
		name    string
		keys    map[string]string
		rows    string
		refused bool
	}{
		{"not Spark", nil, old, false},
		{"Spark 3", spark35, old, false},
		{"Spark 3 in legacy mode", legacy, old, true},
		{"Spark 2", spark24, old, true},
		{"Spark 2, later dates", spark24, recent, false},
	} {
		rec := record(t, schemaOf("d", tDate), c.rows)
		_, _, err := readAll(context.Background(), inputOf(t, "x", Parquet, withKeys(t, rec, c.keys)), nil, Options{})
		if errors.Is(err, errCalendar) != c.refused || (err != nil) != c.refused {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.refused && !strings.HasPrefix(err.Error(), "x row 3: column d: ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	stamps := record(t, schemaOf("t", tUTC), `[{"t":"1899-12-31 23:59:59.999999"}]`)
	if _, ok := stamps.Column(0).(*array.Timestamp); !ok {
		t.Fatal("no timestamps")
	}
	if _, _, err := readAll(context.Background(), inputOf(t, "x", Parquet, withKeys(t, stamps, legacy)), nil, Options{}); !errors.Is(err, errCalendar) {
		t.Errorf("timestamps: %v", err)
	}
}
