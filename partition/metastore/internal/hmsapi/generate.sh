#!/usr/bin/env bash
# Makes hmsapi.thrift and the Go code from Apache Hive's IDL, as the module github.com/beltran/gohive has it, with Debian's
# thrift-compiler 0.17: apt install thrift-compiler.
set -euo pipefail
cd "$(dirname "$0")"
module=github.com/beltran/gohive@v1.8.1
here=$PWD out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
idl=$(cd "$out" && go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/thrift/hive_metastore.thrift
python3 prune.py "$idl" > hmsapi.thrift
thrift -gen go:skip_remote -out "$out" hmsapi.thrift
rm -f "$here"/hmsapi*.go "$here"/GoUnusedProtection__.go
cp "$out"/hmsapi/*.go "$here"
gofmt -w "$here"/*.go
