#!/bin/sh
# usage: tools/release.sh VERSION DIRECTORY
#
# Builds a static tcpleak for Linux into DIRECTORY, with its manual pages, completions for shells, an archive of all that,
# and checksums.
set -eu
cd "$(dirname "$0")/.."
if [ $# != 2 ]; then
	echo "usage: tools/release.sh VERSION DIRECTORY" >&2
	exit 2
fi
version=$1 out=$2

die() { echo "release: $*" >&2; exit 1; }

[ "$(go env GOOS)" = linux ] || die "static binaries are made for Linux, not $(go env GOOS)"
arch=$(go env GOARCH)
cc=$(go env CC)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# --- The program ---

# The compiler answers with the bare name where it has no such file.
libpcap=$($cc -print-file-name=libpcap.a)
[ -f "$libpcap" ] || die "there is no libpcap.a to link: Debian, Ubuntu and Alpine have it in libpcap-dev"
cp "$libpcap" "$scratch/libpcap.a"
if ar t "$libpcap" | grep -qx pcap-dbus.o; then
	$cc -O2 -Wall -Wextra -c -o "$scratch/release-libpcap.o" tools/release-libpcap.c
	ar d "$scratch/libpcap.a" pcap-dbus.o
	ar rs "$scratch/libpcap.a" "$scratch/release-libpcap.o"
fi

rm -rf "$out/man" "$out/completions"
rm -f "$out"/tcpleak* "$out/SHA256SUMS"
mkdir -p "$out/man" "$out/completions"
# netgo and osusergo leave Go's own look-ups of names and users to Go, which does them without glibc's.
CGO_ENABLED=1 CGO_LDFLAGS="-O2 -g -L$scratch" go build -buildvcs=false -trimpath -tags netgo,osusergo \
	-ldflags "-s -w -X main.version=$version -linkmode external -extldflags -static" \
	-o "$out/tcpleak" ./cmd/tcpleak 2>"$scratch/build" || { cat "$scratch/build" >&2; die "the build failed"; }
# The linker warns of glibc's look-ups of names, for which tools/release-libpcap.c has an answer; its other words are news.
grep -v -e "^# tcpleak" -e "in function .pcap_nameto" -e "in statically linked applications requires" "$scratch/build" >&2 || true
if readelf -lW "$out/tcpleak" | grep -q INTERP; then
	die "$out/tcpleak is not static: $(readelf -dW "$out/tcpleak" | grep NEEDED)"
fi

# --- What goes with it ---

# Of the last commit, so that the same commit gives the same pages and archive.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
"$out/tcpleak" man "$out/man"
for shell in bash zsh fish; do
	"$out/tcpleak" completion "$shell" >"$out/completions/tcpleak.$shell"
done
find "$out/man" -name '*.1' -exec gzip -n9 {} +
name=tcpleak-$version-linux-$arch
mkdir "$scratch/$name"
cp -R "$out/tcpleak" "$out/man" "$out/completions" README.md LICENSE CHANGELOG.md deploy "$scratch/$name"
tar -C "$scratch" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$name" |
	gzip -n9 >"$out/$name.tar.gz"

tools/release-checksums.sh "$out"
