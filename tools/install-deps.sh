#!/bin/sh
# usage: tools/install-deps.sh build|test|bench
#
# Looks for what tcpleak is built with (Go, a C compiler, libpcap's headers); for "test" also for the programs that its
# tests call, and for "bench" for those that tools/bench-peers.sh compares it with. Installs what is missing, says so before
# it does, and touches nothing when nothing is missing.
#
# Without what building needs it fails, with the command to run. Without what only tests need it goes on: those tests
# skip, and say why. So does the comparison, with what is here.
set -eu
cd "$(dirname "$0")/.."

case ${1-} in
build | test | bench) purpose=$1 ;;
*)
	echo "usage: tools/install-deps.sh build|test|bench" >&2
	exit 2
	;;
esac

say() { echo "deps: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# Where Linux keeps nft, ip and ethtool is not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin

scratch=$(mktemp -d)
trap 'release_services; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# --- What is here? ---

check_go() {
	if ! have go; then
		say "Go is missing. Install it from https://go.dev/dl, put its bin directory on PATH, and try again."
		exit 1
	fi
	# An older Go fetches the release that go.mod asks for, or says here why it does not.
	if ! go list -m >/dev/null 2>"$scratch/go"; then
		cat "$scratch/go" >&2
		say "$(go version) cannot build this module: it needs $(sed -n 's/^go /Go /p' go.mod) or newer, from https://go.dev/dl"
		exit 1
	fi
}

# compiles SOURCE [FLAG…]: does cgo's compiler make a program of it?
compiles() {
	printf '%s\n' "$1" >"$scratch/probe.c"
	shift
	# Unquoted: each of these may hold several words.
	# shellcheck disable=SC2046,SC2086
	$(go env CC) ${CGO_CFLAGS-} -o "$scratch/probe" "$scratch/probe.c" ${CGO_LDFLAGS-} "$@" >/dev/null 2>&1
}

have_compiler() { compiles '#include <stdlib.h>
int main(void) { return 0; }'; }

have_libpcap() { compiles '#include <pcap.h>
int main(void) { return pcap_lib_version() == 0; }' -lpcap; }

# Each name below is a word of package_of, too.
missing_for_build() {
	have_compiler || echo compiler
	have_libpcap || echo libpcap
}

have_chromium() {
	for name in chromium chromium-browser google-chrome google-chrome-stable \
		/Applications/Chromium.app/Contents/MacOS/Chromium "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
		have "$name" && return
	done
	return 1
}

missing_for_test() {
	have tcpdump || echo tcpdump
	have_chromium || echo chromium
	have promtool || echo prometheus
	[ "$(uname -s)" = Linux ] || return 0 # the rest is about Linux network namespaces
	have nft || echo nftables
	# BusyBox has an ip of its own, without namespaces.
	ip -V 2>&1 | grep -q iproute2 && have ss || echo iproute2
	have ethtool || echo ethtool
	have tmux || echo tmux
	have rpm || echo rpm
	# Alpine has no systemd.
	have apk || have systemd-analyze || echo systemd-analyze
	have dnsmasq || echo dnsmasq
	have dig || echo dig
	for name in openssl curl nginx wrk tcpreplay; do
		have "$name" || echo "$name"
	done
}

missing_for_bench() {
	[ "$(env time -f %M true 2>&1)" != "" ] || echo time # GNU's: a shell has one of its own
	for name in tcpdump tshark tcptrace argus nfpcapd; do
		have "$name" || echo "$name"
	done
}

# --- How is it installed? ---

package_manager() {
	for m in apt-get dnf apk brew; do
		if have "$m"; then
			echo "$m"
			return
		fi
	done
}

# package_of NAME: the packages of this machine's package manager, or the plain names where there is none
package_of() {
	case $manager:$1 in
	apt-get:compiler) echo gcc libc6-dev ;;
	dnf:compiler) echo gcc ;;
	apk:compiler) echo gcc musl-dev ;;
	:compiler) echo "a C compiler" ;;
	apt-get:libpcap) echo libpcap-dev ;;
	dnf:libpcap) echo libpcap-devel ;;
	apk:libpcap) echo libpcap-dev ;;
	:libpcap) echo "libpcap with its headers" ;;
	dnf:iproute2) echo iproute ;;
	dnf:prometheus) echo golang-github-prometheus ;;
	apt-get:dnsmasq) echo dnsmasq-base ;;
	apt-get:dig) echo bind9-dnsutils ;;
	dnf:dig) echo bind-utils ;;
	apk:dig) echo bind-tools ;;
	apt-get:argus) echo argus-server ;;
	dnf:tshark) echo wireshark-cli ;;
	brew:tshark) echo wireshark ;;
	*:nfpcapd) echo nfdump ;;
	*:systemd-analyze) echo systemd ;;
	*) echo "$1" ;;
	esac
}

# packages NAME…: all of them on one line, with commas where a person is to read plain names
packages() {
	for name in "$@"; do package_of "$name"; done |
		if [ -n "$manager" ]; then paste -s -d ' ' -; else paste -s -d , - | sed 's/,/, /g'; fi
}

# as_root: "sudo", or nothing where that is not needed; fails where there is no way
as_root() {
	if [ "$(id -u)" = 0 ] || [ "$manager" = brew ]; then
		echo
	elif have sudo; then
		echo sudo
	else
		return 1
	fi
}

# install_command PACKAGES: the line to run, also shown to the user
install_command() {
	case $manager in
	apt-get) echo "${root:+$root }env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $1" ;;
	dnf) echo "${root:+$root }dnf install -y $1" ;;
	apk) echo "${root:+$root }apk add --no-cache $1" ;;
	brew) echo "brew install $1" ;;
	esac
}

# Debian starts the services that it installs, at once and at each boot. Tests want prometheus's and nginx's programs, and no
# servers on their ports: between hold_services and release_services, nothing starts.
services_held=''
policy=/usr/sbin/policy-rc.d # see invoke-rc.d(8)
hold_services() {
	services_held=$*
	[ -e "$policy" ] || {
		printf '#!/bin/sh\nexit 101\n' >"$scratch/policy"
		${root:+"$root"} install -m 755 "$scratch/policy" "$policy"
	}
}

release_services() {
	[ -n "$services_held" ] || return 0
	[ ! -e "$scratch/policy" ] || ${root:+"$root"} rm -f "$policy"
	# shellcheck disable=SC2086 # the names of services
	! have systemctl || ${root:+"$root"} systemctl disable $services_held >/dev/null 2>&1 || :
	services_held=''
}

# install_packages NAME…: says what it runs, and runs it. Everything goes to stderr: stdout belongs to what the user asked for.
install_packages() {
	command=$(install_command "$(packages "$@")")
	if [ "$manager" = apt-get ]; then
		say "\$ ${root:+$root }apt-get update"
		# A mirror out of reach need not be the one that is needed.
		${root:+"$root"} apt-get update -qq >&2 || say "apt-get update failed; going on with the package lists that are here"
	fi
	say "\$ $command"
	if [ "$manager" = apt-get ]; then
		held=''
		for name in "$@"; do
			case $name in
			prometheus | nginx) held="$held $name.service" ;;
			esac
		done
		[ -z "$held" ] || hold_services "$held"
	fi
	status=0
	# shellcheck disable=SC2086 # a command line, split into its words
	$command >&2 || status=$?
	release_services
	return $status
}

# --- Do it. ---

check_go
manager=$(package_manager)
can_be_root=yes
root=$(as_root) || { can_be_root=no; root=''; }

missing=$(missing_for_build)
if [ -n "$missing" ]; then
	# shellcheck disable=SC2086
	set -- $missing
	say "missing to build: $*"
	if [ "$(uname -s)" = Darwin ] && [ "$1" = compiler ]; then
		say "run: xcode-select --install (a C compiler, and libpcap with its headers), then try again."
		exit 1
	fi
	if [ -z "$manager" ]; then
		say "no apt-get, dnf, apk or brew here. Install $(packages "$@"), then try again."
		exit 1
	fi
	if [ "$can_be_root" = no ]; then
		say "not root, and no sudo here. As root, run: $(install_command "$(packages "$@")")"
		exit 1
	fi
	if ! install_packages "$@"; then
		say "that failed. Put it right, or run it by hand: $(install_command "$(packages "$@")")"
		exit 1
	fi
	missing=$(missing_for_build)
	if [ -n "$missing" ]; then
		say "installed, but $(go env CC) still cannot compile and link a program that includes pcap.h"
		say "where libpcap stands in a place of its own, set CGO_CFLAGS=-I… and CGO_LDFLAGS=-L… and try again"
		exit 1
	fi
fi

# A real OpenTelemetry collector, of modules from the Go proxy. Once built, this costs a second.
build_collector() {
	[ "$(uname -s)" = Linux ] || return 0
	[ -e bin/collector ] || say "building bin/collector, an OpenTelemetry collector, from internal/deployment/collector"
	go build -C internal/deployment/collector -buildvcs=false -o ../../../bin/collector . >"$scratch/collector" 2>&1 && return
	tail -n 3 "$scratch/collector" >&2
	say "no collector; going on, those tests skip"
}

case $purpose in
build) exit 0 ;;
test)
	build_collector
	missing=$(missing_for_test)
	use="some tests"
	without="those tests skip"
	;;
bench)
	missing=$(missing_for_bench)
	use="make bench-peers"
	without="it compares tcpleak with the others"
	;;
esac
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086
set -- $missing
say "missing for $use: $*"
if [ -z "$manager" ]; then
	say "no apt-get, dnf, apk or brew here; going on, $without"
elif [ "$can_be_root" = no ] || { [ -n "$root" ] && ! "$root" -n true 2>/dev/null; }; then
	# A password is worth asking for only where nothing works without it.
	say "not root; going on, $without. To have them too: $(install_command "$(packages "$@")")"
elif ! install_packages "$@"; then
	if [ $# -gt 1 ]; then
		# Hardly a distribution has them all, and one that is unknown keeps the others away.
		for name in "$@"; do
			install_packages "$name" || say "no $name here"
		done
	else
		say "that failed; going on, $without"
	fi
fi
