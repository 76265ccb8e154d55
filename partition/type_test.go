package partition

import (
	"errors"
	"strings"
	"testing"
)

func TestSchemaText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"id bigint, amount decimal(12,2), ts timestamp, tags array<string>", "id bigint, amount decimal(12,2), ts timestamp, tags array<string>"},
		{"ID BIGINT NOT NULL", "ID bigint not null"},
		{"a:int,b : varchar(10), c CHAR( 3 ) not null", "a int, b varchar(10), c char(3) not null"},
		{"a char, b array<char(3)>, c struct<d:varchar(2)>", "a string, b array<string>, c struct<d:string>"},
		{"`a b` int, `x,y`:string", "`a b` int, `x,y` string"},
		{"m map<string,array<int>>", "m map<string,array<int>>"},
		{"s struct<a:int,b:struct<c:string>>", "s struct<a:int,b:struct<c:string>>"},
		{"a decimal, b decimal(40,3)", "a decimal(10,0), b decimal(40,3)"},
		{"a timestamp(3), b timestamp_ntz, c timestamp_ntz(9)", "a timestamp(3), b timestamp_ntz, c timestamp_ntz(9)"},
		{"a int32, b utf8, c float64, d decimal(12, 2), e date32", "a int, b string, c double, d decimal(12,2), e date"},
		{"a timestamp[us, tz=UTC], b timestamp[ns], c timestamp[ms,tz=Asia/Seoul] not null", "a timestamp, b timestamp_ntz(9), c timestamp(3) not null"},
		{"not_null int", "not_null int"},
		{"이름 string", "이름 string"},
	} {
		s, err := ParseSchema(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := FormatSchema(s); got != c.want {
			t.Errorf("%s became %s, want %s", c.text, got, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "want a name"},
		{"id", "want a type"},
		{"id bigint,", "want a name"},
		{"id bigint name string", "want \",\""},
		{"id nonsense", "there is no type nonsense"},
		{"id int, ID int", "stands twice"},
		{"a decimal(3,4)", "scale"},
		{"a decimal(99)", "precision"},
		{"a decimal(x)", "want a number"},
		{"a char(0)", "char(0): want a length of 1 or more"},
		{"a varchar(2,3)", "want \")\""},
		{"a timestamp(2)", "want 3, 6 or 9"},
		{"a timestamp[h]", "want a unit"},
		{"a timestamp[us", "want \"]\""},
		{"a timestamp[us, UTC]", "want tz="},
		{"a timestamp[us, tz=", "want tz="},
		{"a array<int", "want \">\""},
		{"a map<int>", "want \",\""},
		{"`a int", "quoted name"},
		{"a " + strings.Repeat("array<", 100) + "int", "nest deeper"},
	} {
		if _, err := ParseSchema(c.text); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want a usage error with %q", c.text, err, c.want)
		}
	}
}

func FuzzSchemaText(f *testing.F) {
	f.Add("id bigint not null, s struct<`a`:map<string,decimal(3,1)>>")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchema(text)
		if err != nil {
			return
		}
		again, err := ParseSchema(FormatSchema(s))
		if err != nil || !again.Equal(s) {
			t.Fatalf("%q became %q: %v", text, FormatSchema(s), err)
		}
	})
}
