// Package enginetest holds tests that drive other engines, and hupsert as they meet it: the command, built and run, on
// files that they have written, its output read back by them. It exports nothing.
//
// DuckDB, pyarrow, Polars and fastparquet come from the Python that HUPSERT_PYTHON names, Spark from the JVM arguments in
// the file that HUPSERT_SPARK names; `make test` installs both and sets these. Where one is missing its tests are skipped,
// unless HUPSERT_REQUIRE is "all". The scripts are in testdata/engines and testdata/spark.
package enginetest
