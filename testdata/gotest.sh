#!/usr/bin/env bash
# Runs the command given (go test ... ./...), then HUPSERT_RANDOM_CASES (10000) random merges and upserts, and the largest values, without the race
# detector, of HUPSERT_SEED or of any, and closes with what had to be left out, so that nobody takes a run without the
# engines for one with them.
set -uo pipefail

left_out=()
[[ -n ${HUPSERT_PYTHON:-} ]] || left_out+=("DuckDB, pyarrow, Polars, fastparquet: need python3 with venv, and its package index")
[[ -n ${HUPSERT_AIRFLOW:-} ]] || left_out+=("Airflow: needs python3 with venv, and its package index")
[[ -n ${HUPSERT_SPARK:-} ]] || left_out+=("Spark: needs a JDK 17, Maven, and its repository")
[[ -n ${HUPSERT_SERVICES:-} ]] || left_out+=("HDFS and the Hive Metastore: need a JDK 17, Maven, and its repository")
[[ -n ${HUPSERT_PARQUET_TESTING:-} ]] || left_out+=("the corpus of other projects' Parquet files: CORPUS=DIR names its folder")
[[ $(id -u) != 0 ]] || command -v strace >/dev/null || left_out+=("strace, which injects faults into the binary: install it")
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
  left_out+=("Chromium, which opens the page of hupsert report: install it")
command -v systemd-analyze >/dev/null || left_out+=("systemd-analyze, which judges the units in examples: install systemd")

if [[ ${HUPSERT_REQUIRE:-} == all && ${#left_out[@]} -gt 0 ]]; then
  printf 'REQUIRED, BUT MISSING: %s\n' "${left_out[@]}" >&2
  exit 1
fi

# What no installation would mend is no fault of the run, also where everything is required.
if [[ $(id -u) != 0 ]]; then
  left_out+=("power cuts on ext4 and XFS, full and read-only disks: only root may mount")
elif ! unshare -m true 2>/dev/null; then
  left_out+=("power cuts on ext4 and XFS, full and read-only disks: this kernel, or its container, lets nobody mount")
elif ! losetup -f >/dev/null 2>&1; then
  left_out+=("power cuts on ext4 and XFS, full and read-only disks of ext4 and XFS: there are no loop devices")
fi
if ! command -v strace >/dev/null; then
  [[ $(id -u) == 0 ]] || left_out+=("faults in the binary: no strace, and only root may install it")
elif ! strace -qq -e trace=none true 2>/dev/null; then
  left_out+=("faults in the binary: the kernel, or its container, lets strace trace nothing")
fi

# What the race detector has nothing to look at in: one goroutine, or programs that were built without it. It would only take
# several times as long.
no_races='/(merge/(splice|shred|column)|partition/overview|internal/(enginetest|binarytest|damagetest|disktest|schedulertest))$'

status=0
if [[ " $* " == *" -race "* && ${!#} == ./... ]]; then
  packages=$("$1" list ./...) || exit 1
  command=("${@:1:$#-1}")
  # shellcheck disable=SC2046 # names of packages, one a word
  "${command[@]}" $(grep -vE "$no_races" <<<"$packages") || status=1
  without=()
  for word in "${command[@]}"; do
    [[ $word == -race ]] || without+=("$word")
  done
  # shellcheck disable=SC2046
  "${without[@]}" $(grep -E "$no_races" <<<"$packages") || status=1
  # The race detector takes a sample of the points at which these runs are cut and failed.
  "$1" test -count=1 -timeout 2h -skip HDFS ./storage/swap || status=1
else
  "$@" || status=1
fi

# random TEST PACKAGE CASES: a line of how it went, or all of it where it failed.
random() {
  local out
  if out=$("$go" test -count=1 -v -timeout 2h -run "^$1\$" "$2" -cases "$3" -seed "${HUPSERT_SEED:-0}" 2>&1) &&
    grep -o "random [a-z]*: seed [0-9]*, $3 cases.*" <<<"$out"; then
    return
  fi
  printf '%s\n' "$out"
  status=1
}

go=$1
cases=${HUPSERT_RANDOM_CASES:-10000}
if [[ $cases -gt 0 ]]; then
  "$go" test -count=1 -timeout 2h -run '^TestExtremes$' ./partition || status=1
  random TestRandomMerges ./merge $((cases - cases * 4 / 10))
  random TestRandomUpserts ./partition $((cases * 4 / 10))
fi

# 2,000 damaged files (HUPSERT_DAMAGE_MUTATIONS), with limits on memory that the race detector would not fit into.
if [[ -n ${HUPSERT_PYTHON:-} && -n ${HUPSERT_PARQUET_TESTING:-} ]]; then
  out=$(HUPSERT_DAMAGE_MUTATIONS=${HUPSERT_DAMAGE_MUTATIONS:-2000} "$go" test -count=1 -v -timeout 2h -run '^Test(Damaged|Checksums)$' ./internal/damagetest 2>&1) &&
    grep -o 'damaged .*: seed .*' <<<"$out" || { printf '%s\n' "$out"; status=1; }
fi

if [[ ${#left_out[@]} -gt 0 ]]; then
  echo
  echo "---------------------------------------------------------------------------"
  printf 'SKIPPED: %s\n' "${left_out[@]}"
  echo "Tests against these did NOT run. HUPSERT_REQUIRE=all makes required what can be installed."
  echo "---------------------------------------------------------------------------"
fi
exit $status
