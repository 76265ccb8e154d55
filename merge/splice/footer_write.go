package splice

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hupsert/hupsert/merge/column"
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
	markInt96(&footer, o)
	return footer, nil
}

// templateFooter takes everything the template's footer says of the whole file, but for what is to be
// changed.
func templateFooter(o WriterOptions) (tValue, error) {
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
	if !o.reshapes() {
		return footer, nil
	}
	if entries := footer.field(5); entries != nil && o.DropKey != nil {
		entries.kids = slices.DeleteFunc(entries.kids, func(entry tValue) bool {
			key, _ := entry.binary(1)
			return o.DropKey(key)
		})
	}
	markInt96(&footer, o)
	return footer, reshape(&footer, o)
}

func (o *WriterOptions) reshapes() bool { return len(o.Replace)+len(o.Append) > 0 }

// reshape changes the schema elements of a footer, and the column orders with them. Elements of columns
// that stay are kept as they are.
func reshape(footer *tValue, o WriterOptions) error {
	old := footer.list(2, compactStruct)
	oldOrders, hasOrders := footer.list(7, compactStruct), footer.field(7) != nil
	root := old[0].clone()
	elements, orders := []tValue{{}}, []tValue{}
	put := func(node *column.Node) error {
		fresh, err := elementsOf(node)
		if err != nil {
			return err
		}
		elements = append(elements, fresh...)
		for range countLeaves(fresh) {
			typeDefined := newStruct()
			typeDefined.set(1, newStruct())
			orders = append(orders, typeDefined)
		}
		return nil
	}
	at := 1
	for i := range o.Template.Schema().Root.Children {
		n := subtree(old[at:])
		leaves := countLeaves(old[at : at+n])
		if node := o.Replace[i]; node != nil {
			if err := put(node); err != nil {
				return err
			}
		} else {
			elements = append(elements, old[at:at+n]...)
			if hasOrders && len(oldOrders) >= leaves {
				orders = append(orders, oldOrders[:leaves]...)
			}
		}
		oldOrders = oldOrders[min(leaves, len(oldOrders)):]
		at += n
	}
	for _, node := range o.Append {
		if err := put(node); err != nil {
			return err
		}
	}
	root.setInt(5, compactI32, int64(len(o.Template.Schema().Root.Children)+len(o.Append)))
	elements[0] = root
	footer.set(2, newList(compactStruct, elements...))
	if hasOrders {
		footer.set(7, newList(compactStruct, orders...))
	}
	return nil
}

// elementsOf makes the schema elements of a node and those below it.
func elementsOf(node *column.Node) ([]tValue, error) {
	var w compactWriter
	w.begin()
	w.schemaElements(2, &column.Node{Name: "root", Children: []*column.Node{node}})
	w.end()
	tree, _, err := parseThrift(w.buf)
	if err != nil {
		return nil, err
	}
	return tree.list(2, compactStruct)[1:], nil
}

// subtree is how many elements the first one and those below it are.
func subtree(elements []tValue) int {
	n := 1
	for range elements[0].int(5, 0) {
		n += subtree(elements[n:])
	}
	return n
}

// countLeaves counts the elements that are columns.
func countLeaves(elements []tValue) int {
	n := 0
	for i := range elements {
		if elements[i].field(1) != nil {
			n++
		}
	}
	return n
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
