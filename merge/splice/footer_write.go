package splice

import (
	"encoding/binary"
	"fmt"
)

// CreatedBy is how files that are new name us, in the form that readers parse.
func CreatedBy() string { return fmt.Sprintf("hupsert version %s (build none)", version) }

// newFooter makes the FileMetaData of a file without template, still without rows and row groups.
func newFooter(o WriterOptions) (tValue, error) {
	createdBy := o.CreatedBy
	if createdBy == "" {
		createdBy = CreatedBy()
	}
	var w compactWriter
	w.begin()
	w.int32(1, 1)
	w.schemaElements(2, o.Schema.Root)
	w.string(6, createdBy)
	w.list(7, compactStruct, len(o.Schema.Leaves))
	for range o.Schema.Leaves {
		w.begin()
		w.open(1) // TypeDefinedOrder
		w.end()
		w.end()
	}
	w.end()
	footer, _, err := parseThrift(w.buf)
	if err != nil {
		return footer, err
	}
	addKeyValues(&footer, o.KeyValues)
	return footer, nil
}

// templateFooter takes everything the template's footer says of the whole file.
func templateFooter(o WriterOptions) tValue {
	source := o.Template.metadata()
	footer := newStruct()
	for i := range source.kids {
		if field := &source.kids[i]; field.id != 4 { // row groups are many, and none is kept
			footer.kids = append(footer.kids, field.clone())
		}
	}
	if o.CreatedBy != "" {
		footer.setBinary(6, o.CreatedBy)
	}
	addKeyValues(&footer, append([]KeyValue{{Key: versionKey, Value: version}}, o.KeyValues...))
	return footer
}

// addKeyValues sets entries of the key-value metadata; entries that are there keep their places.
func addKeyValues(footer *tValue, entries []KeyValue) {
	if len(entries) == 0 {
		return
	}
	if footer.field(5) == nil {
		footer.set(5, newList(compactStruct))
	}
	list := footer.field(5)
	for _, entry := range entries {
		at := -1
		for i := range list.kids {
			if key, _ := list.kids[i].binary(1); key == entry.Key {
				at = i
			}
		}
		if at < 0 {
			list.kids = append(list.kids, newStruct())
			at = len(list.kids) - 1
			list.kids[at].setBinary(1, entry.Key)
		}
		list.kids[at].setBinary(2, entry.Value)
	}
}

func appendUint32(dst []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(dst, v) }
