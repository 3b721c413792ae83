#!/bin/sh
# usage: tools/setcap.sh PROGRAM ''|1|processes [GROUP]
#
# Gives an installed program the file capabilities with which it captures without sudo ("1"), and also names the processes of
# other users ("processes"); with neither, says how. With GROUP only its members may run the program afterwards.
set -eu
program=$1 what=${2-} group=${3-}
PATH=$PATH:/usr/sbin:/sbin
name=${program##*/}

say() { echo "$name: $*" >&2; }

[ "$(uname -s)" = Linux ] || exit 0
case $what in
'' | 1) caps=cap_net_raw+ep ;;
processes) caps=cap_net_raw,cap_sys_ptrace,cap_dac_read_search+ep ;;
*)
	say "SETCAP=$what means nothing: say SETCAP=1, or SETCAP=processes for names of processes, too"
	exit 2
	;;
esac

# findmnt is no part of every system; without it, one may try.
if findmnt -no OPTIONS -T "$program" 2>/dev/null | grep -qw nosuid; then
	say "its file system is mounted nosuid, where capabilities of files have no effect: run it with sudo, or install it elsewhere"
	[ -z "$what" ] && exit 0
	exit 1
fi

if [ -z "$what" ]; then
	say "to capture without sudo: sudo setcap $caps $program (or make install SETCAP=1)"
	say "whoever may run it can then read what passes on every interface; SETCAP=1 GROUP=adm leaves it to that group"
	exit 0
fi
if [ "$what" = processes ] && [ -z "$group" ]; then
	say "cap_sys_ptrace and cap_dac_read_search are too much for everybody: say who may run it, as in SETCAP=processes GROUP=adm"
	exit 2
fi
if ! command -v setcap >/dev/null; then
	say "setcap is missing: install libcap2-bin (Debian, Ubuntu), libcap (Fedora) or libcap-setcap (Alpine)"
	exit 1
fi
root=
[ "$(id -u)" = 0 ] || root=sudo
# The group first: a file that changes hands loses its capabilities.
if [ -n "$group" ]; then
	$root chgrp "$group" "$program"
	$root chmod 750 "$program"
fi
$root setcap "$caps" "$program"
say "has $caps${group:+, and only the group $group may run it}"
