#!/bin/sh
# usage: tools/bench-peers.sh
#
# Times bin/tcpleak against whichever of tcpdump, nfpcapd, argus, tcptrace and tshark is here, on captures that it makes once
# and keeps: with the packets cut off, whole, and of 1,000 to 1,000,000 connections at once. It builds nothing but tcpleak and
# the generator. docs/performance.md says what came of it.
#
# The programs take turns on a file that is in the page cache; the medians of RUNS are printed, with what they are of
# tcpleak's. From the environment:
#
#	RUNS=5               how often each runs; once, if that takes longer than 30 s
#	PACKETS=5000000      in each capture; fewer where the disk is too small
#	PEERS="tcpdump …"    which programs beside tcpleak, of those above; "" is none
#	SECTIONS="snapped whole crowds"
#	BENCH_DIR=bin/bench  where the captures are kept: about 7 GB
set -eu
cd "$(dirname "$0")/.."

runs=${RUNS-5}
packets=${PACKETS-5000000}
peers=${PEERS-tcpdump nfpcapd argus tcptrace tshark}
sections=${SECTIONS-snapped whole crowds}
dir=${BENCH_DIR-bin/bench}

slow=30000    # ms: what takes longer runs once
headers=75    # octets of a packet in front of the payload, on average
with_data=50  # of a hundred packets carry payload
payload=1100  # octets where packets are whole: 5 million of them stay below 3 GiB
reserve=1024  # MiB of the disk that are left alone

say() { echo "bench: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
thousands() { echo "$1" | awk '{ while (match($0, /^[0-9]+[0-9][0-9][0-9]/)) sub(/[0-9][0-9][0-9](,|$)/, ",&"); print }'; }

PATH=$PATH:/usr/sbin:/sbin
if [ "$(env time -f %M true 2>&1 || :)" = "" ] || ! date +%N | grep -q '^[0-9]*$'; then
	say "this needs GNU time and GNU date: make bench-deps"
	exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch" "$dir/unfinished"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$dir"

# --- Captures ---

# capture FLAG…: makes sure that there is a capture of these flags and reads it into the page cache. Sets file.
capture() {
	file=$dir/$(echo "$*" | tr -d ' ' | tr -s - _ | sed 's/^_//').pcap
	# What has been made by another generator would compare what is not alike.
	if [ ! -e "$file" ] || [ -n "$(find internal/traffic -name '*.go' ! -name '*_test.go' -newer "$file")" ]; then
		say "generating $file"
		"$dir/generate" "$@" -o "$dir/unfinished" 2>"$scratch/about" || { cat "$scratch/about" >&2; exit 1; }
		mv "$dir/unfinished" "$file"
		mv "$scratch/about" "$file.txt"
	fi
	cat "$file" >/dev/null
}

packets_of() { awk '{ print $1; exit }' "$1.txt"; }
connections_of() { awk '{ print $3; exit }' "$1.txt"; }

# fitting PACKETS OCTETS: as many packets of so many octets as the disk has room for
fitting() {
	room=$(df -Pm "$dir" | awk -v reserve=$reserve 'NR == 2 { print $4 - reserve }')
	most=$(awk -v room="$room" -v octets="$2" 'BEGIN { printf "%d", room < 0 ? 0 : room * 1048576 / octets }')
	if [ "$most" -ge "$1" ]; then
		echo "$1"
		return
	fi
	say "the disk has room for $(thousands "$most") packets, not $(thousands "$1")"
	[ "$most" -gt 0 ] || exit 1
	echo "$most"
}

# --- Measuring ---

# command_of PROGRAM FILE: prints the command line; no word of it holds a space but the file, which is $2
command_of() {
	case $1 in
	tcpleak) echo "$dir/tcpleak --max-connections 4000000 -r" ;;
	# Where it drops root's privileges, it may no longer reach the file.
	tcpdump) if [ "$(id -u)" = 0 ] && tcpdump --help 2>&1 | grep -q -- '-Z'; then echo "tcpdump -Z root -w /dev/null -r"; else echo "tcpdump -w /dev/null -r"; fi ;;
	nfpcapd) echo "nfpcapd -w $scratch/flows -r" ;;
	argus) echo "argus -X -w /dev/null -r" ;;
	tcptrace) echo "tcptrace -n" ;;
	tshark) echo "tshark -n -q -z conv,tcp -r" ;;
	*)
		say "PEERS: $1 is none of tcpdump, nfpcapd, argus, tcptrace and tshark"
		exit 1
		;;
	esac
}

# run_once PROGRAM: appends its ms of wall time, ms of CPU time and KiB of memory for $file to its results
run_once() {
	words=$(command_of "$1")
	rm -rf "$scratch/flows"
	mkdir "$scratch/flows"
	began=$(date +%s%N)
	# shellcheck disable=SC2086 # a command line, split into its words
	env time -q -o "$scratch/time" -f '%U %S %M' $words "$file" >/dev/null 2>"$scratch/stderr" || {
		say "$words $file failed: $(tail -n 1 "$scratch/stderr")"
		return 1
	}
	ended=$(date +%s%N)
	wall=$(((ended - began) / 1000000))
	awk -v wall=$wall '{ print wall, ($1 + $2) * 1000, $3 }' "$scratch/time" >>"$scratch/$1"
}

# measure PROGRAM…: lets them take turns on $file. What fails has no results.
measure() {
	for program in tcpleak tcpdump nfpcapd argus tcptrace tshark; do rm -f "$scratch/$program"; done
	run=0
	while [ $run -lt "$runs" ]; do
		for program in "$@"; do
			if [ $run -gt 0 ] && { [ ! -e "$scratch/$program" ] || [ "$(median "$program" 1)" -gt $slow ]; }; then
				continue
			fi
			run_once "$program" || rm -f "$scratch/$program"
		done
		run=$((run + 1))
	done
}

# median PROGRAM COLUMN: of its results, as a whole number
median() {
	cut -d ' ' -f "$2" "$scratch/$1" | sort -n | awk '{ v[NR] = $1 } END { printf "%d", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# --- Printing ---

about() {
	printf '\n%s: %s packets of %s connections, %s MiB\n' "$1" "$(thousands "$(packets_of "$file")")" \
		"$(thousands "$(connections_of "$file")")" "$(thousands "$(($(wc -c <"$file") / 1048576))")"
}

# compare TITLE: measures and prints all programs on $file
compare() {
	# shellcheck disable=SC2086
	measure tcpleak $present
	about "$1"
	[ -e "$scratch/tcpleak" ] || exit 1
	printf '%-9s  %9s  %9s  %9s  %11s  %9s  %s\n' program wall CPU 'ns/packet' '/ tcpleak' 'peak MiB' runs
	for program in tcpleak $present; do
		if [ ! -e "$scratch/$program" ]; then
			printf '%-9s  failed\n' "$program"
			continue
		fi
		awk -v program="$program" -v wall="$(median "$program" 1)" -v cpu="$(median "$program" 2)" \
			-v kib="$(median "$program" 3)" -v own="$(median tcpleak 1)" -v n="$(packets_of "$file")" \
			-v runs="$(wc -l <"$scratch/$program")" 'BEGIN {
				printf "%-9s  %7.2f s  %7.2f s  %9.0f  %10.2f  %9.0f  %d\n", program, wall / 1e3, cpu / 1e3, wall * 1e6 / n, wall / own, kib / 1024, runs
			}'
	done
}

# crowd CONCURRENT PACKETS: measures and prints tcpleak, with tcpdump for scale. Files are compared with each other, which do
# not take turns, so by CPU time.
crowd() {
	capture -packets "$2" -concurrent "$1" -snaplen 96
	# shellcheck disable=SC2086
	measure tcpleak $scale
	[ -e "$scratch/tcpleak" ] || exit 1
	if [ -e "$scratch/tcpdump" ]; then other=$(median tcpdump 2); else other=0; fi
	awk -v concurrent="$(thousands "$1")" -v n="$(packets_of "$file")" -v packets="$(thousands "$(packets_of "$file")")" \
		-v connections="$(thousands "$(connections_of "$file")")" -v wall="$(median tcpleak 1)" -v cpu="$(median tcpleak 2)" \
		-v kib="$(median tcpleak 3)" -v other="$other" 'BEGIN {
			printf "%11s  %11s  %11s  %7.2f s  %7.2f s  %9.0f  %9s  %8.0f\n", concurrent, packets, connections, wall / 1e3, cpu / 1e3,
				cpu * 1e6 / n, other ? sprintf("%.2f", cpu / other) : "-", kib / 1024
		}'
	echo "$(packets_of "$file") $(connections_of "$file") $(median tcpleak 2) $(median tcpleak 3)" >>"$scratch/crowds"
}

# --- Do it. ---

make -s build
cp bin/tcpleak "$dir/tcpleak" # so that another build does not change it half way
go build -o "$dir/generate" ./internal/traffic/generate

present=
scale=
for program in $peers; do
	command_of "$program" >/dev/null
	if have "$program"; then
		present="$present $program"
		[ "$program" != tcpdump ] || scale=tcpdump
	else
		say "$program is not here; make bench-deps installs it where the distribution has it"
	fi
done

printf '%s cores, %s, %s %s, %s\n' "$(getconf _NPROCESSORS_ONLN)" \
	"$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)" "$(uname -s)" "$(uname -r)" "$(go version | cut -d ' ' -f 3)"

for section in $sections; do
	case $section in
	snapped)
		capture -packets "$(fitting "$packets" 112)" -snaplen 96
		compare 'Snapped to 96 octets'
		;;
	whole)
		octets=$((16 + headers + payload * with_data / 100))
		capture -packets "$(fitting "$packets" $octets)" -payload $payload -snaplen 0
		compare 'Whole packets'
		;;
	crowds)
		rm -f "$scratch/crowds"
		n=$(fitting "$packets" $((112 * 6)))
		printf '\nConnections open at once; ns/packet and the ratio are of CPU time\n%11s  %11s  %11s  %9s  %9s  %9s  %9s  %8s\n' \
			open packets connections wall CPU 'ns/packet' '/ tcpdump' 'peak MiB'
		for concurrent in 1000 10000 100000 1000000; do crowd $concurrent "$n"; done
		crowd 1000000 $((2 * n))
		awk '{ packets[NR] = $1; connections[NR] = $2; cpu[NR] = $3; kib[NR] = $4 } END {
			printf "memory for each further connection: %.0f octets\n", (kib[4] - kib[1]) * 1024 / (connections[4] - connections[1])
			printf "a packet of 1,000,000 connections that are open already: %.0f ns of CPU time\n", (cpu[5] - cpu[4]) * 1e6 / (packets[5] - packets[4])
		}' "$scratch/crowds"
		;;
	*)
		say "SECTIONS: $section is none of snapped, whole and crowds"
		exit 1
		;;
	esac
done
