#!/bin/sh
# usage: tools/drops.sh
#
# How many packets does a live capture lose? tcpreplay sends made-up traffic over a veth pair between two network namespaces of its
# own, at several rates; tcpdump -w /dev/null and bin/tcpleak capture beside each other on the same device in the same run, and
# then each alone. Both have the same buffer and snap length. Prints what the kernel dropped for each. Needs root.
#
# From the environment:
#
#	RATES="50000 100000 200000 top"   packets a second; top is as fast as tcpreplay can
#	PACKETS=1000000                   of each run
#	RUNS="both tcpdump tcpleak"       who captures
#	TCPLEAK=bin/tcpleak               the program
set -eu
cd "$(dirname "$0")/.."

rates=${RATES-50000 100000 200000 top}
packets=${PACKETS-1000000}
runs=${RUNS-both tcpdump tcpleak}
tcpleak=$(realpath "${TCPLEAK-bin/tcpleak}")

say() { echo "drops: $*" >&2; }

PATH=$PATH:/usr/sbin:/sbin
if [ "$(id -u)" != 0 ]; then
	say "skipped: network namespaces need root; run sudo make drops"
	exit 0
fi
for program in tcpreplay tcpdump ip; do
	if ! command -v "$program" >/dev/null 2>&1; then
		say "skipped: no $program here; make deps-test installs it"
		exit 0
	fi
done
a=drops-$$-a b=drops-$$-b
scratch=$(mktemp -d)
pids=''
# Namespaces take what is in them along.
cleanup() {
	for pid in $pids; do kill -KILL "$pid" 2>/dev/null || :; done
	ip netns del $a 2>/dev/null || :
	ip netns del $b 2>/dev/null || :
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if ! ip netns add $a 2>"$scratch/why" || ! ip netns add $b 2>"$scratch/why"; then
	say "skipped: network namespaces are not allowed here: $(cat "$scratch/why"); in a container, run it privileged"
	exit 0
fi
ip link add send netns $a type veth peer name take netns $b
for namespace in $a $b; do
	ip netns exec "$namespace" sysctl -q net.ipv6.conf.all.disable_ipv6=1 # no chatter
done
ip -n $a link set send up
ip -n $b link set take up

say "generating $packets packets"
go run ./internal/traffic/generate -packets "$packets" -payload 200 -snaplen 0 -ipv6 0 -o "$scratch/traffic.pcap" 2>/dev/null

# started FILE TEXT: waits until a program says that it captures
started() {
	tries=0
	until grep -q "$2" "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { say "it does not start: $(cat "$1")"; exit 1; }
		sleep 0.1
	done
}

# tell_PROGRAM: how many packets it has had, and how many it has lost
tell_tcpdump() {
	sed -n 's/^\([0-9]*\) packets\{0,1\} captured$/\1/p' "$scratch/tcpdump"
	sed -n 's/^\([0-9]*\) packets\{0,1\} dropped by kernel$/\1/p' "$scratch/tcpdump"
}
tell_tcpleak() {
	sed -n 's/^{"type":"capture".*"live":true,.*"packets":\([0-9]*\),"segments".*"dropped":{"kernel":\([0-9]*\),.*/\1\n\2/p' "$scratch/tcpleak.out"
}

printf '%-8s %-12s %-8s %-8s %12s %12s\n' asked sent/s run program captured dropped
for rate in $rates; do
	for run in $runs; do
		pids='' programs=$run
		[ "$run" != both ] || programs='tcpdump tcpleak'
		for program in $programs; do
			case $program in
			tcpdump)
				ip netns exec $b tcpdump -i take -s 256 -B 32768 -Z root -w /dev/null 2>"$scratch/tcpdump" &
				pids="$pids $!"
				started "$scratch/tcpdump" 'listening on'
				;;
			tcpleak)
				ip netns exec $b "$tcpleak" -i take --format json >"$scratch/tcpleak.out" 2>"$scratch/tcpleak" &
				pids="$pids $!"
				started "$scratch/tcpleak" 'capturing on'
				;;
			esac
		done
		speed=--pps=$rate
		[ "$rate" != top ] || speed=--topspeed
		ip netns exec $a tcpreplay --quiet --preload-pcap "$speed" -i send "$scratch/traffic.pcap" >"$scratch/sent" 2>&1 ||
			{ say "tcpreplay: $(tail -1 "$scratch/sent")"; exit 1; }
		sent=$(sed -n 's/^Rated:.* \([0-9.]*\) pps$/\1/p' "$scratch/sent")
		sleep 1 # what is in the buffers
		for pid in $pids; do kill -INT "$pid"; done
		for pid in $pids; do wait "$pid" || :; done
		pids=''
		for program in $programs; do
			# shellcheck disable=SC2046 # two numbers
			set -- $(tell_"$program")
			printf '%-8s %-12s %-8s %-8s %12s %12s\n' "$rate" "$sent" "$run" "$program" "${1-?}" "${2-?}"
		done
	done
done
