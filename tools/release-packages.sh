#!/bin/sh
# usage: tools/release-packages.sh VERSION DIRECTORY
#
# Makes a .deb and an .rpm of what tools/release.sh VERSION DIRECTORY has left there, and sums up again.
set -eu
cd "$(dirname "$0")/.."
if [ $# != 2 ]; then
	echo "usage: tools/release-packages.sh VERSION DIRECTORY" >&2
	exit 2
fi
version=$1 out=$2
# Later ones need modules that the Go module proxy does not hand out.
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0

# Packages have versions that start with a digit, and that sort: five commits after 1.2.0 is 1.2.0+5, not before 1.2.0.
PACKAGE_VERSION=$(echo "${version#v}" | sed -e 's/-\([0-9][0-9]*\)-g/+\1.g/' -e 's/-dirty$/.dirty/')
case $PACKAGE_VERSION in
[0-9]*.*.*) ;;
*) PACKAGE_VERSION=0.0.0+$PACKAGE_VERSION ;; # a commit without a tag before it
esac
PACKAGE_ARCH=$(go env GOARCH)
RELEASE_DIR=$out
# Of the last commit, so that the same commit gives the same packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export PACKAGE_VERSION PACKAGE_ARCH RELEASE_DIR SOURCE_DATE_EPOCH
rm -f "$out"/*.deb "$out"/*.rpm
for format in deb rpm; do
	# A tool for this machine, whatever the program is built for.
	GOOS='' GOARCH='' go run "$nfpm" package --config deploy/nfpm.yaml --packager "$format" --target "$out/" >&2
done
tools/release-checksums.sh "$out"
