#!/usr/bin/env bash
# Runs the command given (go test ...), and closes with what had to be left out, so that nobody takes a run without the
# engines for one with them.
set -uo pipefail

left_out=()
[[ -n ${HUPSERT_PYTHON:-} ]] || left_out+=("DuckDB, pyarrow, Polars, fastparquet: need python3 with venv, and its package index")
[[ -n ${HUPSERT_SPARK:-} ]] || left_out+=("Spark: needs a JDK 17, Maven, and its repository")
[[ -n ${HUPSERT_PARQUET_TESTING:-} ]] || left_out+=("the corpus of other projects' Parquet files: CORPUS=DIR names its folder")

if [[ ${HUPSERT_REQUIRE:-} == all && ${#left_out[@]} -gt 0 ]]; then
  printf 'REQUIRED, BUT MISSING: %s\n' "${left_out[@]}" >&2
  exit 1
fi

"$@"
status=$?

if [[ ${#left_out[@]} -gt 0 ]]; then
  echo
  echo "---------------------------------------------------------------------------"
  printf 'SKIPPED: %s\n' "${left_out[@]}"
  echo "Tests against these did NOT run. HUPSERT_REQUIRE=all makes them required."
  echo "---------------------------------------------------------------------------"
fi
exit $status
