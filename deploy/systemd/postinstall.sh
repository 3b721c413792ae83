#!/bin/sh
# After a package is installed or upgraded: a running agent goes on as the new one. Does nothing where systemd does not run, or
# where dpkg installs into a system that does not (DPKG_ROOT).
[ -d "${DPKG_ROOT-}/run/systemd/system" ] || exit 0
systemctl daemon-reload || true
systemctl try-restart tcpleak.service || true
