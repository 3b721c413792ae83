#!/bin/sh
# usage: tools/fuzz.sh COUNTx
#
# Runs every fuzz target of the module for that many inputs, one after the other (`go test -fuzz` takes one at a time).
# Give a number of inputs rather than a time: at the end of a time, Go up to 1.26 now and then reports
# "context deadline exceeded" where nothing was found (https://go.dev/issue/75804).
set -eu
cd "$(dirname "$0")/.."
budget=${1:?"usage: tools/fuzz.sh COUNTx, for example 100000x"}

# The names of a package's targets come first, then its "ok" line.
listing=$(go test -list '^Fuzz' ./...)
targets=$(printf '%s\n' "$listing" | awk '
	/^Fuzz/ { names[n++] = $1 }
	/^ok/   { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }')
if [ -z "$targets" ]; then
	echo "fuzz: no targets"
	exit 0
fi

printf '%s\n' "$targets" | while read -r package target; do
	echo "fuzz: $target in $package, $budget"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$budget" "$package" </dev/null
done
