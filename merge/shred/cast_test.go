package shred

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"pgregory.net/rapid"
)

// Short names of types, as the tables below write them.
var (
	tBool   = arrow.FixedWidthTypes.Boolean
	tI8     = arrow.PrimitiveTypes.Int8
	tI16    = arrow.PrimitiveTypes.Int16
	tI32    = arrow.PrimitiveTypes.Int32
	tI64    = arrow.PrimitiveTypes.Int64
	tU8     = arrow.PrimitiveTypes.Uint8
	tU32    = arrow.PrimitiveTypes.Uint32
	tU64    = arrow.PrimitiveTypes.Uint64
	tF16    = arrow.FixedWidthTypes.Float16
	tF32    = arrow.PrimitiveTypes.Float32
	tF64    = arrow.PrimitiveTypes.Float64
	tStr    = arrow.BinaryTypes.String
	tLStr   = arrow.BinaryTypes.LargeString
	tBin    = arrow.BinaryTypes.Binary
	tDate   = arrow.FixedWidthTypes.Date32
	tDate64 = arrow.FixedWidthTypes.Date64
	tT32s   = arrow.FixedWidthTypes.Time32s
	tT32ms  = arrow.FixedWidthTypes.Time32ms
	tT64us  = arrow.FixedWidthTypes.Time64us
	tT64ns  = arrow.FixedWidthTypes.Time64ns
	tTSs    = &arrow.TimestampType{Unit: arrow.Second}
	tTSms   = &arrow.TimestampType{Unit: arrow.Millisecond}
	tTSus   = &arrow.TimestampType{Unit: arrow.Microsecond}
	tTSns   = &arrow.TimestampType{Unit: arrow.Nanosecond}
	tUTCus  = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	tUTCms  = &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}
	tSeoul  = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "Asia/Seoul"}
)

func dec(p, s int32) arrow.DataType    { return &arrow.Decimal128Type{Precision: p, Scale: s} }
func dec256(p, s int32) arrow.DataType { return &arrow.Decimal256Type{Precision: p, Scale: s} }
func fixed(n int) arrow.DataType       { return &arrow.FixedSizeBinaryType{ByteWidth: n} }

func TestCast(t *testing.T) {
	explicit := CastOptions{Explicit: true}
	truncate := CastOptions{TruncateTimestamps: true}
	seoul := CastOptions{SourceTimezone: mustZone(t, "Asia/Seoul")}
	explicitSeoul := CastOptions{Explicit: true, SourceTimezone: mustZone(t, "Asia/Seoul")}
	cases := []struct {
		from arrow.DataType
		in   string
		to   arrow.DataType
		o    CastOptions
		want string // JSON of the result
		row  int    // where want is empty: the first bad row, or -1
		err  error
	}{
		// integers
		{tI8, `[-128,127,null]`, tI64, CastOptions{}, `[-128,127,null]`, 0, nil},
		{tU64, `[0,9223372036854775807]`, tI64, CastOptions{}, `[0,9223372036854775807]`, 0, nil},
		{tU64, `[1,9223372036854775808]`, tI64, CastOptions{}, ``, 1, ErrLossy},
		{tI64, `[127,null,128]`, tI8, CastOptions{}, ``, 2, ErrLossy},
		{tI64, `[-1]`, tU64, CastOptions{}, ``, 0, ErrLossy},
		{tI32, `[-1]`, tU32, CastOptions{}, ``, 0, ErrLossy},
		{tU32, `[4294967295]`, tI32, CastOptions{}, ``, 0, ErrLossy},
		{tI32, `[255]`, tU8, CastOptions{}, `[255]`, 0, nil},
		{tI32, `[32768]`, tI16, CastOptions{}, ``, 0, ErrLossy},
		// floats
		{tF32, `[0.5,null]`, tF64, CastOptions{}, `[0.5,null]`, 0, nil},
		{tF64, `[0.5,0.1]`, tF32, CastOptions{}, ``, 1, ErrLossy},
		{tF64, `[1e300]`, tF32, CastOptions{}, ``, 0, ErrLossy},
		{tF32, `[0.5,65504]`, tF16, CastOptions{}, `[0.5,65504]`, 0, nil},
		{tF32, `[65536]`, tF16, CastOptions{}, ``, 0, ErrLossy},
		{tI32, `[1]`, tF64, CastOptions{}, ``, -1, ErrType},
		{tF64, `[1]`, tI32, CastOptions{}, ``, -1, ErrType},
		{tI64, `[9007199254740992]`, tF64, explicit, `[9007199254740992]`, 0, nil},
		{tI64, `[1,9007199254740993]`, tF64, explicit, ``, 1, ErrLossy},
		{tI32, `[16777217]`, tF32, explicit, ``, 0, ErrLossy},
		{tI32, `[2049]`, tF16, explicit, ``, 0, ErrLossy},
		{tF64, `[3,-4]`, tI8, explicit, `[3,-4]`, 0, nil},
		{tF64, `[3.5]`, tI32, explicit, ``, 0, ErrLossy},
		{tF64, `[300]`, tI8, explicit, ``, 0, ErrLossy},
		{tF64, `[18446744073709549568]`, tU64, explicit, `[18446744073709549568]`, 0, nil},
		{tF64, `[18446744073709551616]`, tU64, explicit, ``, 0, ErrLossy},
		// decimals
		{dec(5, 2), `["1.20",null]`, dec(10, 4), CastOptions{}, `["1.2000",null]`, 0, nil},
		{dec(10, 4), `["1.2000","1.2001"]`, dec(5, 2), CastOptions{}, ``, 1, ErrLossy},
		{dec(10, 0), `["999","1000"]`, dec(3, 0), CastOptions{}, ``, 1, ErrLossy},
		{dec(38, 0), `["99999999999999999999999999999999999999"]`, dec256(40, 2), CastOptions{}, `["99999999999999999999999999999999999999.00"]`, 0, nil},
		{dec256(40, 2), `["-12345678901234567890.50"]`, dec(22, 1), CastOptions{}, `["-12345678901234567890.5"]`, 0, nil},
		{dec256(40, 0), `["100000000000000000000000000000000000000"]`, dec(38, 0), CastOptions{}, ``, 0, ErrLossy},
		{tI64, `[12,-5]`, dec(4, 2), CastOptions{}, `["12.00","-5.00"]`, 0, nil},
		{tI64, `[12,123]`, dec(4, 2), CastOptions{}, ``, 1, ErrLossy},
		{tU64, `[18446744073709551615]`, dec(20, 0), CastOptions{}, `["18446744073709551615"]`, 0, nil},
		{dec(10, 2), `["12.00","12.50"]`, tI64, CastOptions{}, ``, 1, ErrLossy},
		{dec(20, 0), `["18446744073709551615"]`, tU64, CastOptions{}, `[18446744073709551615]`, 0, nil},
		{dec(20, 0), `["18446744073709551616"]`, tU64, CastOptions{}, ``, 0, ErrLossy},
		{dec(4, 1), `["12.5"]`, tF64, CastOptions{}, ``, -1, ErrType},
		{dec(4, 1), `["12.5","0.1"]`, tF64, explicit, `[12.5,0.1]`, 0, nil},
		{dec(30, 0), `["123456789012345678901234567891"]`, tF64, explicit, ``, 0, ErrLossy},
		{tF64, `[0.1]`, dec(3, 2), explicit, `["0.10"]`, 0, nil},
		{tF64, `[0.125]`, dec(3, 2), explicit, ``, 0, ErrLossy},
		// bools
		{tBool, `[true,null]`, tI8, CastOptions{}, ``, -1, ErrType},
		{tBool, `[true,null,false]`, tI8, explicit, `[1,null,0]`, 0, nil},
		{tI8, `[1,0]`, tBool, explicit, `[true,false]`, 0, nil},
		{tI8, `[1,2]`, tBool, explicit, ``, 1, ErrLossy},
		// strings and binaries
		{tStr, `["a","",null]`, tLStr, CastOptions{}, `["a","",null]`, 0, nil},
		{tLStr, `["a","",null]`, tStr, CastOptions{}, `["a","",null]`, 0, nil},
		{tStr, `["a"]`, tBin, CastOptions{}, `["YQ=="]`, 0, nil},
		{tBin, `["YQ==",null]`, tStr, CastOptions{}, `["a",null]`, 0, nil},
		{tBin, `["YQ==","/w=="]`, tStr, CastOptions{}, ``, 1, ErrLossy},
		{tBin, `["YWI="]`, fixed(2), CastOptions{}, `["YWI="]`, 0, nil},
		{tBin, `["YWI=","YQ=="]`, fixed(2), CastOptions{}, ``, 1, ErrLossy},
		{fixed(2), `["YWI=",null]`, tBin, CastOptions{}, `["YWI=",null]`, 0, nil},
		{fixed(2), `["YWI="]`, tStr, CastOptions{}, ``, -1, ErrType},
		{tStr, `["ab"]`, fixed(2), CastOptions{}, ``, -1, ErrType},
		{tStr, `["1"]`, tI32, CastOptions{}, ``, -1, ErrType},
		{tI32, `[1]`, tStr, CastOptions{}, ``, -1, ErrType},
		{tStr, `["1","-7",null]`, tI32, explicit, `[1,-7,null]`, 0, nil},
		{tStr, `["1","x"]`, tI32, explicit, ``, 1, ErrText},
		{tStr, `["128"]`, tI8, explicit, ``, 0, ErrLossy},
		{tStr, `["true","0"]`, tBool, explicit, `[true,false]`, 0, nil},
		{tStr, `["1.50"]`, dec(3, 1), explicit, `["1.5"]`, 0, nil},
		{tStr, `["2024-02-29"]`, tDate, explicit, `["2024-02-29"]`, 0, nil},
		{tStr, `["2023-02-29"]`, tDate, explicit, ``, 0, ErrText},
		{tI64, `[-9223372036854775808,null]`, tStr, explicit, `["-9223372036854775808",null]`, 0, nil},
		{dec(5, 2), `["-0.05"]`, tLStr, explicit, `["-0.05"]`, 0, nil},
		{tF64, `[0.1,1e+21]`, tStr, explicit, `["0.1","1e+21"]`, 0, nil},
		{tDate, `["1969-12-31"]`, tStr, explicit, `["1969-12-31"]`, 0, nil},
		{tUTCus, `["1969-12-31T23:59:59.999999"]`, tStr, explicit, `["1969-12-31T23:59:59.999999Z"]`, 0, nil},
		// dates and times
		{tDate, `["1969-12-31"]`, tDate64, CastOptions{}, `["1969-12-31"]`, 0, nil},
		{tDate64, `["2024-01-01"]`, tDate, CastOptions{}, `["2024-01-01"]`, 0, nil},
		{tT32s, `["12:34:56"]`, tT64ns, CastOptions{}, `["12:34:56"]`, 0, nil},
		{tT64us, `["12:34:56.001000"]`, tT32ms, CastOptions{}, `["12:34:56.001"]`, 0, nil},
		{tT64us, `["12:34:56.000001"]`, tT32ms, CastOptions{}, ``, 0, ErrLossy},
		{tT64us, `["12:34:56.000001"]`, tT32ms, truncate, `["12:34:56"]`, 0, nil},
		{tDate, `["2024-01-02"]`, tTSms, CastOptions{}, ``, -1, ErrType},
		{tDate, `["2024-01-02"]`, tTSms, explicit, `["2024-01-02T00:00:00"]`, 0, nil},
		{tDate, `["2024-01-02"]`, tUTCms, explicit, ``, -1, ErrTimezone},
		{tDate, `["2024-01-02"]`, tUTCms, explicitSeoul, `["2024-01-01T15:00:00"]`, 0, nil},
		{tTSms, `["2024-01-02T00:00:00"]`, tDate, explicit, `["2024-01-02"]`, 0, nil},
		{tTSms, `["2024-01-02T00:00:01"]`, tDate, explicit, ``, 0, ErrLossy},
		// timestamps
		{tTSs, `["2024-01-01T00:00:01",null]`, tTSns, CastOptions{}, `["2024-01-01T00:00:01",null]`, 0, nil},
		{tTSus, `["2024-01-01T00:00:01.000001"]`, tTSms, CastOptions{}, ``, 0, ErrLossy},
		{tTSus, `["2024-01-01T00:00:01.000001"]`, tTSms, truncate, `["2024-01-01T00:00:01"]`, 0, nil},
		{tTSus, `["1969-12-31T23:59:59.999999"]`, tTSs, truncate, `["1969-12-31T23:59:59"]`, 0, nil},
		{tTSs, `["9999-12-31T00:00:00"]`, tTSns, CastOptions{}, ``, 0, ErrLossy},
		{tTSus, `["2024-01-01T09:00:00"]`, tUTCus, CastOptions{}, ``, -1, ErrTimezone},
		{tUTCus, `["2024-01-01T00:00:00"]`, tTSus, CastOptions{}, ``, -1, ErrTimezone},
		{tTSus, `["2024-01-01T09:00:00",null]`, tUTCms, seoul, `["2024-01-01T00:00:00",null]`, 0, nil},
		{tUTCus, `["2024-01-01T00:00:00"]`, tTSms, seoul, `["2024-01-01T09:00:00"]`, 0, nil},
		{tSeoul, `["2024-01-01T00:00:00"]`, tUTCus, CastOptions{}, `["2024-01-01T00:00:00"]`, 0, nil},
		// null
		{arrow.Null, `[null,null]`, tI32, CastOptions{}, `[null,null]`, 0, nil},
		{tI32, `[1]`, arrow.Null, CastOptions{}, ``, -1, ErrType},
		// nested
		{arrow.StructOf(field("B", tI32), field("a", tI8)), `[{"a":1,"B":2},null]`,
			arrow.StructOf(field("a", tI64), field("b", dec(4, 1))), CastOptions{}, `[{"a":1,"b":"2.0"},null]`, 0, nil},
		{arrow.StructOf(field("a", tI32)), `[{"a":1}]`, arrow.StructOf(field("a", tI32), field("b", tI32)), CastOptions{}, ``, -1, ErrType},
		{arrow.StructOf(field("a", tI32), field("b", tI32)), `[]`, arrow.StructOf(field("a", tI32)), CastOptions{}, ``, -1, ErrType},
		{arrow.StructOf(field("A", tI32), field("a", tI32)), `[]`, arrow.StructOf(field("a", tI32), field("A", tI64)), CastOptions{}, `[]`, 0, nil},
		{arrow.ListOf(tI64), `[[1],null,[],[2,null,300]]`, listOf(tI32, true), CastOptions{}, `[[1],null,[],[2,null,300]]`, 0, nil},
		{arrow.ListOf(tI64), `[[1],null,[],[2,null,300]]`, listOf(tI8, true), CastOptions{}, ``, 3, ErrLossy},
		{arrow.ListOf(tI64), `[[1],[null]]`, listOf(tI64, false), CastOptions{}, ``, 1, ErrNull},
		{arrow.LargeListOf(tI64), `[[1],null]`, listOf(tI32, true), CastOptions{}, `[[1],null]`, 0, nil},
		{arrow.FixedSizeListOf(2, tI64), `[[1,2],null,[3,4]]`, listOf(tI32, true), CastOptions{}, `[[1,2],null,[3,4]]`, 0, nil},
		{arrow.MapOf(tStr, tI64), `[[{"key":"a","value":1}],null]`, mapOf(tStr, tI32, true), CastOptions{}, `[[{"key":"a","value":1}],null]`, 0, nil},
		{arrow.MapOf(tStr, tI64), `[[],[{"key":"a","value":1},{"key":"b","value":500}]]`, mapOf(tStr, tI8, true), CastOptions{}, ``, 1, ErrLossy},
		{arrow.MapOf(tStr, tI64), `[]`, listOf(tI8, true), CastOptions{}, ``, -1, ErrType},
		{tI32, `[1]`, listOf(tI32, true), CastOptions{}, ``, -1, ErrType},
		{listOf(tI32, true), `[[1]]`, tI32, CastOptions{}, ``, -1, ErrType},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s to %s %s", c.from, c.to, c.in), func(t *testing.T) {
			arr := fromJSON(t, c.from, c.in)
			got, row, err := Cast(arr, c.to, c.o)
			if c.want == "" {
				if !errors.Is(err, c.err) || row != c.row {
					t.Fatalf("got %v, row %d, %v; want %v in row %d", got, row, err, c.err, c.row)
				}
				if can := CanCast(c.from, c.to, c.o); (can != nil) != (row < 0) {
					t.Errorf("CanCast says %v", can)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := fromJSON(t, c.to, c.want); !array.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if err := CanCast(c.from, c.to, c.o); err != nil {
				t.Errorf("CanCast: %v", err)
			}
		})
	}
}

func field(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true}
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Skip(err)
	}
	return loc
}

func TestCastNaN(t *testing.T) {
	b := array.NewFloat64Builder(memory.DefaultAllocator)
	b.AppendValues([]float64{math.NaN(), math.Inf(-1), math.Copysign(0, -1)}, nil)
	arr := b.NewArray()
	got, _, err := Cast(arr, tF32, CastOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v := got.(*array.Float32).Float32Values()
	if v[0] == v[0] || !math.IsInf(float64(v[1]), -1) || !math.Signbit(float64(v[2])) {
		t.Errorf("got %v", v)
	}
	for _, to := range []arrow.DataType{tI64, dec(5, 2)} {
		if _, row, err := Cast(arr, to, CastOptions{Explicit: true}); !errors.Is(err, ErrLossy) || row != 0 {
			t.Errorf("NaN as %s: %v", to, err)
		}
	}
}

// TestClockChanges: local times that occur twice or never.
func TestClockChanges(t *testing.T) {
	berlin := CastOptions{SourceTimezone: mustZone(t, "Europe/Berlin")}
	in := fromJSON(t, tTSus, `["2024-10-27T02:30:00","2024-10-27T03:00:00","2024-07-01T00:00:00"]`)
	got, _, err := Cast(in, tUTCus, berlin)
	if err != nil {
		t.Fatal(err)
	}
	// The clock shows 02:30 twice; the earlier is summer time, UTC+2.
	if want := fromJSON(t, tUTCus, `["2024-10-27T00:30:00","2024-10-27T02:00:00","2024-06-30T22:00:00"]`); !array.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	skipped := fromJSON(t, tTSus, `["2024-03-31T01:59:59","2024-03-31T02:30:00"]`)
	if _, row, err := Cast(skipped, tUTCus, berlin); !errors.Is(err, ErrLossy) || row != 1 {
		t.Errorf("a time that never was: row %d, %v", row, err)
	}
}

func TestCastKeepsDictionary(t *testing.T) {
	arr := dictionary(t, tI8, tLStr, "[1,null,0]", `["a","b"]`)
	got, _, err := Cast(arr, tStr, CastOptions{KeepDictionary: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := dictionary(t, tI32, tStr, "[1,null,0]", `["a","b"]`); !array.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got, _, err = Cast(arr, tStr, CastOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := fromJSON(t, tStr, `["b",null,"a"]`); !array.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCastRunEnds(t *testing.T) {
	values := fromJSON(t, tI64, `[7,null,9]`)
	ends := fromJSON(t, tI32, `[2,3,6]`)
	arr := array.NewRunEndEncodedArray(ends, values, 6, 0)
	got, _, err := Cast(arr, tI32, CastOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := fromJSON(t, tI32, `[7,7,null,9,9,9]`); !array.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestCastRows: casting selected rows is selecting from the cast, for arrays that are slices too.
func TestCastRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRand(t)
		f := arrow.Field{Name: "f", Type: randomType(r, 2), Nullable: true}
		if hasRequiredNull(f) || f.Type.ID() == arrow.NULL {
			return
		}
		arr := randomArray(r, f, 2+r.IntN(30))
		arr = array.NewSlice(arr, 1, int64(arr.Len()))
		rows := make([]int32, r.IntN(20))
		for i := range rows {
			rows[i] = int32(r.IntN(arr.Len()))
		}
		got, _, err := CastRows(arr, rows, f.Type, CastOptions{})
		if err != nil {
			t.Fatalf("%s: %v", f.Type, err)
		}
		for i, row := range rows {
			if !array.SliceEqual(got, int64(i), int64(i+1), arr, int64(row), int64(row+1)) {
				t.Fatalf("row %d of %s: got %v, want %v", row, f.Type, got, arr)
			}
		}
	})
}

// TestWidenAndBack: what widens comes back the same.
func TestWidenAndBack(t *testing.T) {
	pairs := [][2]arrow.DataType{{tI8, tI64}, {tU8, tI16}, {tU32, tU64}, {tF32, tF64}, {tI64, dec(19, 0)}, {tU64, dec(22, 2)},
		{dec(9, 2), dec(20, 5)}, {dec(38, 3), dec256(60, 9)}, {tTSms, tTSus}, {tStr, tBin}, {tStr, tLStr}, {fixed(3), tBin}, {tT32ms, tT64ns}}
	for _, p := range pairs {
		for seed := range uint64(10) {
			arr := randomArray(rand.New(rand.NewPCG(seed, 3)), field("f", p[0]), 50)
			if p[0] == arrow.DataType(tTSms) {
				arr = fromJSON(t, tTSms, `["2024-01-01T00:00:00.001",null]`)
			}
			wide, _, err := Cast(arr, p[1], CastOptions{})
			if err != nil {
				t.Fatalf("%s to %s: %v", p[0], p[1], err)
			}
			back, _, err := Cast(wide, p[0], CastOptions{})
			if err != nil {
				t.Fatalf("%s to %s: %v", p[1], p[0], err)
			}
			if !array.Equal(back, arr) {
				t.Fatalf("%s by %s: got %v, want %v", p[0], p[1], back, arr)
			}
		}
	}
}
