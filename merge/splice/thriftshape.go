package splice

// thriftShape is what parquet.thrift says of a struct: the types of its fields by their ids. Fields that are not in it may be anything.
type thriftShape map[int16]fieldShape

// fieldShape is a field's type; of a list its elements' type, of structs in either their own shape.
type fieldShape struct {
	kind, elem byte
	in         thriftShape
}

// Shapes of the structs that are read. A reader made by Thrift passes a field of another type as if it were not there; such a
// field is damage, and so is one that stands twice.
var (
	logicalShape = thriftShape{
		logicalString: {kind: compactStruct}, logicalMap: {kind: compactStruct}, logicalList: {kind: compactStruct},
		logicalEnum: {kind: compactStruct}, logicalDate: {kind: compactStruct}, logicalUnknown: {kind: compactStruct},
		logicalJSON: {kind: compactStruct}, logicalBSON: {kind: compactStruct}, logicalUUID: {kind: compactStruct},
		logicalFloat16: {kind: compactStruct}, logicalVariant: {kind: compactStruct}, logicalGeometry: {kind: compactStruct},
		logicalGeography: {kind: compactStruct},
		logicalDecimal:   {kind: compactStruct, in: thriftShape{1: {kind: compactI32}, 2: {kind: compactI32}}},
		logicalTime:      {kind: compactStruct, in: timeShape},
		logicalTimestamp: {kind: compactStruct, in: timeShape},
		logicalInteger:   {kind: compactStruct, in: thriftShape{1: {kind: compactI8}, 2: {kind: compactTrue}}},
	}
	timeShape = thriftShape{1: {kind: compactTrue}, 2: {kind: compactStruct, in: thriftShape{
		1: {kind: compactStruct}, 2: {kind: compactStruct}, 3: {kind: compactStruct},
	}}}
	elementShape = thriftShape{
		1: {kind: compactI32}, 2: {kind: compactI32}, 3: {kind: compactI32}, 4: {kind: compactBinary}, 5: {kind: compactI32},
		6: {kind: compactI32}, 7: {kind: compactI32}, 8: {kind: compactI32}, 9: {kind: compactI32}, 10: {kind: compactStruct, in: logicalShape},
	}
	statsShape = thriftShape{
		1: {kind: compactBinary}, 2: {kind: compactBinary}, 3: {kind: compactI64}, 5: {kind: compactBinary}, 6: {kind: compactBinary},
		7: {kind: compactTrue}, 8: {kind: compactTrue},
	}
	// Of field 15, a bloom filter's length, writers make 32 bits or 64.
	metaShape = thriftShape{
		1: {kind: compactI32}, 2: {kind: compactList, elem: compactI32}, 3: {kind: compactList, elem: compactBinary}, 4: {kind: compactI32},
		5: {kind: compactI64}, 6: {kind: compactI64}, 7: {kind: compactI64}, 9: {kind: compactI64}, 10: {kind: compactI64},
		11: {kind: compactI64}, 12: {kind: compactStruct, in: statsShape}, 14: {kind: compactI64},
	}
	chunkShape = thriftShape{
		1: {kind: compactBinary}, 2: {kind: compactI64}, 3: {kind: compactStruct, in: metaShape}, 4: {kind: compactI64},
		5: {kind: compactI32}, 6: {kind: compactI64}, 7: {kind: compactI32}, 8: {kind: compactStruct}, 9: {kind: compactBinary},
	}
	groupShape = thriftShape{
		1: {kind: compactList, elem: compactStruct, in: chunkShape}, 2: {kind: compactI64}, 3: {kind: compactI64},
		4: {kind: compactList, elem: compactStruct}, 5: {kind: compactI64}, 6: {kind: compactI64}, 7: {kind: compactI16},
	}
	keyValueShape = thriftShape{1: {kind: compactBinary}, 2: {kind: compactBinary}}
	footerShape   = thriftShape{
		1: {kind: compactI32}, 2: {kind: compactList, elem: compactStruct, in: elementShape}, 3: {kind: compactI64},
		4: {kind: compactList, elem: compactStruct, in: groupShape}, 5: {kind: compactList, elem: compactStruct, in: keyValueShape},
		6: {kind: compactBinary}, 7: {kind: compactList, elem: compactStruct, in: thriftShape{1: {kind: compactStruct}}}, 8: {kind: compactStruct}, 9: {kind: compactBinary},
	}
	offsetIndexShape = thriftShape{1: {kind: compactList, elem: compactStruct, in: thriftShape{1: {kind: compactI64}, 2: {kind: compactI32}, 3: {kind: compactI64}}}}
	columnIndexShape = thriftShape{
		2: {kind: compactList, elem: compactBinary}, 3: {kind: compactList, elem: compactBinary}, 4: {kind: compactI32},
		5: {kind: compactList, elem: compactI64},
	}
)

// check holds a struct against its shape.
func (s thriftShape) check(v *tValue) error {
	seen := uint64(0)
	for i := range v.kids {
		f := &v.kids[i]
		want, known := s[f.id]
		if !known {
			continue
		}
		if seen&(1<<f.id) != 0 {
			return corruptf("thrift: field %d stands twice", f.id)
		}
		seen |= 1 << f.id
		// An empty list may claim elements of any type.
		if f.kind != want.kind || f.kind == compactList && f.elem != want.elem && len(f.kids) > 0 {
			return corruptf("thrift: field %d is of another type than the format says", f.id)
		}
		if err := want.checkKids(f); err != nil {
			return err
		}
	}
	return nil
}

func (s fieldShape) checkKids(f *tValue) error {
	switch {
	case s.in == nil:
		return nil
	case s.kind == compactStruct:
		return s.in.check(f)
	}
	for i := range f.kids {
		if err := s.in.check(&f.kids[i]); err != nil {
			return err
		}
	}
	return nil
}
