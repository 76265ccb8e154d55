package shred

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

func TestParser(t *testing.T) {
	seoul := CastOptions{SourceTimezone: mustZone(t, "Asia/Seoul")}
	truncate := CastOptions{TruncateTimestamps: true}
	none := CastOptions{}
	cases := []struct {
		to   arrow.DataType
		o    CastOptions
		text string
		want string // JSON of the value; empty: an error
		err  error
	}{
		{tBool, none, "true", "true", nil},
		{tBool, none, "FALSE", "false", nil},
		{tBool, none, "1", "true", nil},
		{tBool, none, "yes", "", ErrText},
		{tBool, none, "", "", ErrText},
		{tI8, none, "+5", "5", nil},
		{tI8, none, "-128", "-128", nil},
		{tI8, none, "128", "", ErrLossy},
		{tI64, none, "9223372036854775808", "", ErrLossy},
		{tI64, none, "1_000", "", ErrText},
		{tI64, none, "5.0", "", ErrText},
		{tI64, none, " 5", "", ErrText},
		{tI64, none, "0x10", "", ErrText},
		{tU64, none, "18446744073709551615", "18446744073709551615", nil},
		{tU64, none, "-1", "", ErrText},
		{tF64, none, "-1.5e3", "-1500", nil},
		{tF64, none, "1e400", "", ErrLossy},
		{tF64, none, "0x1p3", "", ErrText},
		{tF64, none, "1_0", "", ErrText},
		{tF32, none, "0.1", "0.1", nil},
		{tF16, none, "0.5", "0.5", nil},
		{tF16, none, "1e9", "", ErrLossy},
		{dec(5, 2), none, "-1.5", `"-1.50"`, nil},
		{dec(5, 2), none, "1.500", `"1.50"`, nil},
		{dec(5, 2), none, "1.505", "", ErrLossy},
		{dec(5, 2), none, "1000", "", ErrLossy},
		{dec(5, 2), none, "1.5e2", `"150.00"`, nil},
		{dec(5, 2), none, "15E-1", `"1.50"`, nil},
		{dec(5, 2), none, "0e999999999999", `"0.00"`, nil},
		{dec(5, 2), none, "1e999999999999", "", ErrLossy},
		{dec(5, 2), none, ".5", `"0.50"`, nil},
		{dec(5, 2), none, "5.", `"5.00"`, nil},
		{dec(5, 2), none, ".", "", ErrText},
		{dec(5, 2), none, "", "", ErrText},
		{dec(5, 2), none, "1e", "", ErrText},
		{dec(5, 2), none, "1,5", "", ErrText},
		{dec(5, 2), none, strings.Repeat("0", 500), "", ErrText},
		{dec(38, 0), none, "-99999999999999999999999999999999999999", `"-99999999999999999999999999999999999999"`, nil},
		{dec256(76, 0), none, "123456789012345678901234567890123456789012345678901234567890", `"123456789012345678901234567890123456789012345678901234567890"`, nil},
		{tDate, none, "0001-01-01", `"0001-01-01"`, nil},
		{tDate, none, "2024-2-3", "", ErrText},
		{tDate, none, "20240203", "", ErrText},
		{tDate, none, "2024-13-01", "", ErrText},
		{tDate, none, "2024-04-31", "", ErrText},
		{tDate, none, "2024-04-30 00:00:00", "", ErrText},
		{tDate64, none, "2024-04-30", `"2024-04-30"`, nil},
		{tT64us, none, "23:59:59.999999", `"23:59:59.999999"`, nil},
		{tT64us, none, "12:30", `"12:30:00"`, nil},
		{tT64us, none, "24:00:00", "", ErrText},
		{tT64us, none, "12:00:60", "", ErrText},
		{tT32s, none, "12:00:00.5", "", ErrLossy},
		{tT32s, truncate, "12:00:00.5", `"12:00:00"`, nil},
		{tTSus, none, "2024-01-02T03:04:05.123456", `"2024-01-02T03:04:05.123456"`, nil},
		{tTSus, none, "2024-01-02 03:04", `"2024-01-02T03:04:00"`, nil},
		{tTSus, none, "1969-12-31 23:59:59.999999", `"1969-12-31T23:59:59.999999"`, nil},
		{tTSus, none, "2024-01-02T03:04:05.1234567", "", ErrLossy},
		{tTSus, none, "2024-01-02T03:04:05.1234560", `"2024-01-02T03:04:05.123456"`, nil},
		{tTSus, truncate, "1969-12-31T23:59:59.9999999", `"1969-12-31T23:59:59.999999"`, nil},
		{tTSus, none, "2024-01-02", "", ErrText},
		{tTSus, CastOptions{Explicit: true}, "2024-01-02", `"2024-01-02T00:00:00"`, nil},
		{tTSus, none, "2024-01-02T03:04:05Z", "", ErrTimezone},
		{tTSus, seoul, "2024-01-02T03:04:05Z", `"2024-01-02T12:04:05"`, nil},
		{tUTCus, none, "2024-01-02T03:04:05", "", ErrTimezone},
		{tUTCus, seoul, "2024-01-02T03:04:05", `"2024-01-01T18:04:05"`, nil},
		{tUTCus, none, "2024-01-02T03:04:05+09:00", `"2024-01-01T18:04:05"`, nil},
		{tUTCus, none, "2024-01-02T03:04:05-0130", `"2024-01-02T04:34:05"`, nil},
		{tUTCus, none, "2024-01-02 03:04:05 UTC", `"2024-01-02T03:04:05"`, nil},
		{tUTCus, none, "2024-01-02 03:04:05+09", `"2024-01-01T18:04:05"`, nil},
		{tUTCus, none, "2024-01-02 03:04:05 KST", "", ErrText},
		{tTSns, none, "9999-12-31T00:00:00", "", ErrLossy},
		{tStr, none, " ä ", `" ä "`, nil},
		{tStr, none, "\xff", "", ErrText},
		{tBin, none, "YWI=", `"YWI="`, nil},
		{tBin, none, "YWI", "", ErrText},
		{tBin, none, "YW\nI=", "", ErrText},
		{fixed(2), none, "YWI=", `"YWI="`, nil},
		{fixed(3), none, "YWI=", "", ErrLossy},
		{fixed(16), none, "00112233-4455-6677-8899-aabbccddeeff", `"ABEiM0RVZneImaq7zN3u/w=="`, nil},
		{fixed(16), none, "00112233-4455-6677-8899-aabbccddeefg", "", ErrText},
	}
	for _, c := range cases {
		parse, err := NewParser(c.to, c.o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse([]byte("x"), c.text)
		if c.want == "" {
			if !errors.Is(err, c.err) {
				t.Errorf("%q as %s: got % x, %v; want %v", c.text, c.to, got, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q as %s: %v", c.text, c.to, err)
			continue
		}
		if want := bytesIn(fromJSON(t, c.to, "["+c.want+"]")); string(got) != "x"+string(want) {
			t.Errorf("%q as %s: got % x, want % x", c.text, c.to, got[1:], want)
		}
	}
	for _, to := range []arrow.DataType{listOf(tI32, true), arrow.Null, arrow.FixedWidthTypes.Duration_s} {
		if _, err := NewParser(to, none); !errors.Is(err, ErrType) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// bytesIn is the first value of an array in the form that parsers give.
func bytesIn(arr arrow.Array) []byte {
	if b, ok := arr.(*array.Boolean); ok {
		if b.Value(0) {
			return []byte{1}
		}
		return []byte{0}
	}
	if value, ok := bytesOf(arr); ok {
		return value(0)
	}
	return fixedBytes(arr, arr.DataType().(arrow.FixedWidthDataType).Bytes())
}

func TestDecimalText(t *testing.T) {
	for _, c := range []struct {
		v     int64
		scale int32
		want  string
	}{{0, 0, "0"}, {0, 2, "0.00"}, {-5, 2, "-0.05"}, {12345, 2, "123.45"}, {7, -2, "700"}, {-123, 3, "-0.123"}} {
		if got := (decimal{small: c.v}).text(c.scale); got != c.want {
			t.Errorf("%d scale %d: %s, want %s", c.v, c.scale, got, c.want)
		}
	}
}
