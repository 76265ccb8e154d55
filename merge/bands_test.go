package merge

import "testing"

// TestSortedBands: keys that are empty come first, and sorted ones only once.
func TestSortedBands(t *testing.T) {
	for _, c := range []struct {
		batches [][]string
		sorted  bool
	}{
		{[][]string{{"", "a"}, {"b"}}, true},
		{[][]string{{""}, {"a"}}, true},
		{[][]string{{"a", "a"}}, false},
		{[][]string{{""}, {""}}, false},
		{[][]string{{"", ""}}, false},
		{[][]string{{"b"}, {""}}, false},
	} {
		w := &bandWriter{open: make([]openBand, 1), chunk: maxChunk, sorted: true}
		row := 0
		for _, batch := range c.batches {
			var k rowKeys
			for _, key := range batch {
				k.keys.data = append(k.keys.data, key...)
				k.keys.ends = append(k.keys.ends, uint64(len(k.keys.data)))
			}
			if err := w.add(row, len(batch), &k); err != nil {
				t.Fatal(err)
			}
			row += len(batch)
		}
		if w.sorted != c.sorted {
			t.Errorf("%q: sorted is %v", c.batches, w.sorted)
		}
	}
}
