package orders

import "testing"

func TestChangesHaveEachKeyOnce(t *testing.T) {
	record := dayOfChanges()
	defer record.Release()
	type key struct{ date, order, line string }
	seen := map[key]bool{}
	for i := range int(record.NumRows()) {
		k := key{record.Column(11).ValueStr(i), record.Column(0).ValueStr(i), record.Column(1).ValueStr(i)}
		if seen[k] {
			t.Fatalf("row %d repeats %v", i, k)
		}
		seen[k] = true
	}
}
