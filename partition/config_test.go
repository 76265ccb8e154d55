package partition

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	want := TableConfig{Key: []string{"order_id", "line_no"}, OrderBy: []string{"updated_at:desc"}, PartitionBy: []string{"dt:date"},
		Schema: "order_id bigint, line_no int", KeepHistory: "168h"}
	data, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseConfig(data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nread as %+v, %v", data, got, err)
	}
	if empty, err := parseConfig(nil); err != nil || !reflect.DeepEqual(empty, TableConfig{}) {
		t.Errorf("no configuration: %+v, %v", empty, err)
	}
}

func TestConfigIsStrict(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"keys: [id]", "unknown field"},
		{"key: [id]\nkey: [x]", "already defined"},
		{"key: {a: b}", ""},
		{"key: [id]\n---\nkey: [x]", "more than one"},
		{"order-by: ['a:down']", "order-by"},
		{"partition-by: ['dt:float']", "partition-by"},
		{"schema: id nonsense", "there is no type nonsense"},
		{"partition-by: [dt]\nschema: id int, DT string", "partition column"},
		{"keep-history: a week", "keep-history"},
		{"keep-history: -1h", "negative"},
		{"order-by: [':']\nkeep-history: x", "keep-history"}, // all bad fields, not the first
		{"[", ""},
	} {
		_, err := parseConfig([]byte(c.text))
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want a usage error with %q", c.text, err, c.want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("key: [id]\npartition-by: ['dt:date']\nschema: id int\nkeep-history: 1h\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		out, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseConfig(out)
		if err != nil {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if same, err := again.encode(); err != nil || !bytes.Equal(same, out) {
			t.Fatalf("%q became %q, then %q: %v", data, out, same, err)
		}
	})
}
