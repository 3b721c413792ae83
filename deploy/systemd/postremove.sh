#!/bin/sh
# After a package has gone, its unit with it.
[ -d "${DPKG_ROOT-}/run/systemd/system" ] || exit 0
systemctl daemon-reload || true
