#!/usr/bin/env bash
# Installs the engines that tests and benchmark run against, once, into the cache:
#
#     engines.sh VENV AIRFLOW SPARK SERVICES PYTHON MVN JAVA
#
# VENV becomes a virtual environment with requirements.txt, complete when VENV/ready is there, AIRFLOW one with
# airflow/requirements.txt, in the same way. SPARK becomes a file of
# arguments for a JVM with Spark on its class path. SERVICES becomes a folder with such files for HDFS and the Hive
# Metastore, complete when SERVICES/ready is there. Debian's packages of strace, xfsprogs, chromium and systemd, which faults in the
# built command, tests on real disks, of pages and of units take, are installed where root may. What can't be had is said and left out; with
# HUPSERT_REQUIRE=all it is an error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$1 airflow=$2 spark=$3 services=$4 python=$5 mvn=$6 java=$7

missing() {
  echo "engines: $1" >&2
  if [[ ${HUPSERT_REQUIRE:-} == all ]]; then exit 1; fi
}

# install_python VENV REQUIREMENTS NAMES [OPTION...]: a virtual environment, with what pip makes of a file.
install_python() {
  local to=$1 requirements=$2 names=$3
  [[ ! -e $to/ready ]] || return 0
  command -v "$python" >/dev/null || { missing "no $python: $names are left out"; return 0; }
  echo "engines: Python packages ($names) into $to" >&2
  rm -rf "$to"
  # `ready` comes last: an installation that broke off is begun anew by the next run.
  if "$python" -m venv "$to" && "$to/bin/pip" install --quiet --disable-pip-version-check "${@:4}" -r "$requirements"; then
    touch "$to/ready"
  else
    missing "the Python packages can't be installed: $names are left out"
  fi
}

# have_java VERSIONS: what is compiled here would not do with a bare JRE, nor with a Java older than its syntax.
have_java() {
  "$java" --list-modules 2>/dev/null | grep -qE "^jdk\.compiler@($1)" && command -v "$mvn" >/dev/null
}

# class_path POM: the jars a pom.xml asks for, as one argument for a JVM's file of arguments.
class_path() {
  local path
  path=$(mktemp)
  "$mvn" -q -B -Dstyle.color=never -f "$1" dependency:build-classpath -Dmdep.outputFile="$path" -DexcludeArtifactIds="${2:-}" >&2 || { rm -f "$path"; return 1; }
  cat "$path"
  rm -f "$path"
}

install_spark() {
  [[ ! -e $spark ]] || return 0
  if ! have_java '1[7-9]|2[0-9]'; then
    missing "no JDK of version 17 or later, or no Maven: Spark is left out"
    return 0
  fi
  echo "engines: Spark's jars, by Maven" >&2
  mkdir -p "$(dirname "$spark")"
  local path
  if path=$(class_path "$here/spark/pom.xml"); then
    # Spark reaches into the JDK's own packages, which are closed since Java 17.
    {
      local package
      for package in java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.util \
        java.util.concurrent java.util.concurrent.atomic sun.nio.ch sun.nio.cs sun.security.action sun.util.calendar; do
        echo "--add-opens=java.base/$package=ALL-UNNAMED"
      done
      echo "-cp"
      echo "\"$path\""
    } >"$spark.part"
    mv "$spark.part" "$spark"
  else
    missing "Spark's jars can't be had: Spark is left out"
  fi
}

# schema ARTIFACT FILE: one of the SQL scripts in a metastore's distribution, into the services' folder.
schema() {
  # Maven leaves marks beside the pom.xml of what it has unpacked, and would not do it a second time.
  mkdir -p "$services/unpacked"
  cp "$here/services/cluster/pom.xml" "$services/unpacked/"
  "$mvn" -q -B -Dstyle.color=never -f "$services/unpacked/pom.xml" dependency:unpack -Dartifact="org.apache.hive:$1:tar.gz:bin" \
    -Dmdep.unpack.includes="**/$2" -DoutputDirectory="$services/unpacked" >&2 || return 1
  find "$services/unpacked" -name "$2" -exec mv {} "$services/" \;
  rm -rf "$services/unpacked"
  [[ -e $services/$2 ]]
}

# service NAME FOLDER CLASSPATH: compiles a folder of testdata/services, and writes NAME.args for a JVM that runs it.
service() {
  mkdir -p "$services/$1"
  "$javac" -nowarn -Xlint:-deprecation -cp "$3" -d "$services/$1" "$here"/services/common/*.java "$here/services/$2"/*.java >&2 || return 1
  {
    echo "-Xmx768m"
    # A test's services live for a minute: what starts soonest is best.
    echo "-XX:TieredStopAtLevel=1"
    echo "-XX:+UseSerialGC"
    # For WebHDFS and Hive 2.3, for the KDC.
    echo "--add-opens=java.base/java.lang=ALL-UNNAMED"
    echo "--add-opens=java.base/java.net=ALL-UNNAMED"
    echo "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED"
    echo "\"-Dlog4j.configurationFile=$services/log4j2.properties\""
    echo "\"-Dlog4j2.configurationFile=$services/log4j2.properties\""
    echo "-cp"
    echo "\"$services/$1:$3\""
  } >"$services/$1.args"
}

install_services() {
  [[ ! -e $services/ready ]] || return 0
  # Hadoop 3.4 asks who it is in a way that Java 23 has given up.
  if ! have_java '1[7-9]|2[0-2]'; then
    missing "no JDK of version 17 to 22, or no Maven: HDFS and the Hive Metastore are left out"
    return 0
  fi
  echo "engines: the jars of HDFS and the Hive Metastore, by Maven" >&2
  rm -rf "$services"
  mkdir -p "$services"
  cp "$here/services/log4j2.properties" "$services/"
  local cluster metastore4 metastore2 javac=javac
  [[ $java != */* ]] || javac=$(dirname "$java")/javac
  # Hadoop and Hive bring two loggers: one must go. Hive 2.3 is Spark's.
  if cluster=$(class_path "$here/services/cluster/pom.xml" slf4j-reload4j,reload4j) &&
    metastore4=$(class_path "$here/services/metastore4/pom.xml" slf4j-reload4j,reload4j) &&
    metastore2=$(class_path "$here/spark/pom.xml") &&
    schema hive-standalone-metastore:3.1.3 hive-schema-3.1.0.derby.sql &&
    schema hive-standalone-metastore-server:4.0.1 hive-schema-4.0.0.derby.sql &&
    service cluster cluster "$cluster" &&
    service metastore-4.0 metastore4 "$metastore4" &&
    service metastore-2.3 metastore2 "$metastore2"; then
    touch "$services/ready"
  else
    missing "the jars of HDFS and the Hive Metastore can't be had: they are left out"
  fi
}

has_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

install_packages() {
  local packages=()
  command -v strace >/dev/null || packages+=('strace=6.*')
  command -v mkfs.xfs >/dev/null || [[ -x /usr/sbin/mkfs.xfs ]] || packages+=('xfsprogs=6.*')
  has_chromium || packages+=('chromium')
  command -v systemd-analyze >/dev/null || packages+=('systemd')
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
install_python "$venv" "$here/requirements.txt" "DuckDB, pyarrow, Polars, fastparquet and delta-rs"
# The list is whole, and pip need not find out again what fits to what.
install_python "$airflow" "$here/airflow/requirements.txt" "Airflow and Kubernetes' client" --no-deps
install_spark
install_services
