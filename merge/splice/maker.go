package splice

import (
	"strconv"
	"strings"
)

// maker is the program that wrote a file, by the footer's created_by: "parquet-mr version 1.8.1
// (build ...)".
type maker struct {
	name    string
	version [3]int
	known   bool // the version is
	cdh     bool // a Cloudera build, with fixes of later versions
}

func parseMaker(createdBy string) maker {
	name, rest, _ := strings.Cut(createdBy, " version ")
	m := maker{name: strings.TrimSpace(name)}
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	m.cdh = strings.Contains(text, "cdh")
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "v"), "-") // DuckDB has "v1.4.1"
	parts := strings.SplitN(text, ".", 3)
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return m
		}
		m.version[i] = n
		m.known = i > 0
	}
	return m
}

// before reports whether the version is older than another, or not known.
func (m maker) before(major, minor, patch int) bool {
	v := m.version
	switch {
	case !m.known:
		return true
	case v[0] != major:
		return v[0] < major
	case v[1] != minor:
		return v[1] < minor
	}
	return v[2] < patch
}

// miscountsDictionary: parquet-cpp left the dictionary page's header out of the chunk's size up to
// 1.2.8 (PARQUET-816), and so did others of the time that state no version.
func (m maker) miscountsDictionary() bool {
	return !m.known || m.name == "parquet-cpp" && m.before(1, 2, 9)
}

// mistakesBinaryBounds: parquet-mr computed bounds of binary columns wrongly up to 1.7
// (PARQUET-251). Files without created_by may come from it.
func (m maker) mistakesBinaryBounds() bool {
	return m.name == "" || m.name == "parquet-mr" && m.before(1, 8, 0)
}

// ordersDecimals reports whether the program is known to compare decimals on byte arrays as numbers. parquet-go
// compares their bytes, and cuts them in column indexes, so that no bound of them holds; it leaves the name in
// created_by to the program that uses it.
func (m maker) ordersDecimals() bool {
	switch name, _, _ := strings.Cut(m.name, " "); name {
	case "parquet-mr", "parquet-cpp", "parquet-cpp-arrow", "parquet-rs", "DuckDB", "Polars", "impala", "hupsert":
		return true
	}
	return false
}

// ordersFloats reports whether the program is known to give bounds that hold for the numbers beside a NaN. In github.com/parquet-go's, of
// other names in created_by, a NaN hides what came before it; "parquet-go" is Arrow's.
func (m maker) ordersFloats() bool { return m.ordersDecimals() || m.name == "parquet-go" }

// chainsDeltas: in parquet-mr up to 1.7 the first value of a DELTA_BYTE_ARRAY page continues the
// last one of the page before (PARQUET-246).
func (m maker) chainsDeltas() bool {
	return m.name == "parquet-mr" && m.before(1, 8, 0)
}

// pagePadding is what stands behind the last value of a padded page.
var pagePadding [8]byte

// padsPages: fastparquet ends data pages V1 by eight zero bytes, its older versions did not.
func (m maker) padsPages() bool {
	return m.name == "fastparquet-python" || m.name == "fastparquet"
}
