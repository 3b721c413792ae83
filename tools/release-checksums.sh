#!/bin/sh
# usage: tools/release-checksums.sh DIRECTORY
#
# Writes SHA256SUMS of all files below DIRECTORY: cd DIRECTORY && sha256sum -c SHA256SUMS
set -eu
cd "${1:?usage: tools/release-checksums.sh DIRECTORY}"
rm -f SHA256SUMS
sums=$(find . -type f | LC_ALL=C sort | sed 's|^\./||' | xargs sha256sum)
echo "$sums" >SHA256SUMS
