#!/bin/sh
# Before a package goes: "remove" is dpkg's word for it, 0 rpm's. An upgrade leaves the agent running.
case ${1-} in remove | 0) ;; *) exit 0 ;; esac
[ -d "${DPKG_ROOT-}/run/systemd/system" ] || exit 0
systemctl disable --now tcpleak.service || true
