#!/usr/bin/env bash
# Installs the engines that tests and benchmark run against, once, into the cache:
#
#     engines.sh VENV SPARK PYTHON MVN JAVA
#
# VENV becomes a virtual environment with requirements.txt, complete when VENV/ready is there. SPARK becomes a file of
# arguments for a JVM with Spark on its class path. Debian's packages of strace and xfsprogs, which tests on real disks
# and faults in the built command take, are installed where root may. What can't be had is said and left out; with
# HUPSERT_REQUIRE=all it is an error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$1 spark=$2 python=$3 mvn=$4 java=$5

missing() {
  echo "engines: $1" >&2
  if [[ ${HUPSERT_REQUIRE:-} == all ]]; then exit 1; fi
}

install_python() {
  [[ ! -e $venv/ready ]] || return 0
  command -v "$python" >/dev/null || { missing "no $python: DuckDB, pyarrow, Polars, fastparquet and delta-rs are left out"; return 0; }
  echo "engines: Python packages into $venv" >&2
  rm -rf "$venv"
  # `ready` comes last: an installation that broke off is begun anew by the next run.
  if "$python" -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"; then
    touch "$venv/ready"
  else
    missing "the Python packages can't be installed: DuckDB, pyarrow, Polars, fastparquet and delta-rs are left out"
  fi
}

install_spark() {
  [[ ! -e $spark ]] || return 0
  # The session is one source file, compiled as it starts: a bare JRE would not do, nor a Java older than its syntax.
  if ! "$java" --list-modules 2>/dev/null | grep -qE '^jdk\.compiler@(1[7-9]|2[0-9])' || ! command -v "$mvn" >/dev/null; then
    missing "no JDK of version 17 or later, or no Maven: Spark is left out"
    return 0
  fi
  echo "engines: Spark's jars, by Maven" >&2
  mkdir -p "$(dirname "$spark")"
  local path
  path=$(mktemp)
  if "$mvn" -q -B -f "$here/spark/pom.xml" dependency:build-classpath -Dmdep.outputFile="$path" >&2; then
    # Spark reaches into the JDK's own packages, which are closed since Java 17.
    {
      local package
      for package in java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.util \
        java.util.concurrent java.util.concurrent.atomic sun.nio.ch sun.nio.cs sun.security.action sun.util.calendar; do
        echo "--add-opens=java.base/$package=ALL-UNNAMED"
      done
      echo "-cp"
      echo "\"$(cat "$path")\""
    } >"$spark.part"
    mv "$spark.part" "$spark"
  else
    missing "Spark's jars can't be had: Spark is left out"
  fi
  rm -f "$path"
}

install_packages() {
  local packages=()
  command -v strace >/dev/null || packages+=('strace=6.*')
  command -v mkfs.xfs >/dev/null || [[ -x /usr/sbin/mkfs.xfs ]] || packages+=('xfsprogs=6.*')
  [[ ${#packages[@]} -gt 0 ]] || return 0
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "engines: only root on Debian can have these installed here, and they are left out: ${packages[*]}" >&2
    return 0
  fi
  echo "engines: Debian packages ${packages[*]}" >&2
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 "${packages[@]}")
  # The lists may be old, or not there.
  "${install[@]}" >/dev/null 2>&1 || { apt-get update -qq >/dev/null && "${install[@]}" >/dev/null; } ||
    missing "the Debian packages can't be installed: ${packages[*]}"
}

install_packages
install_python
install_spark
