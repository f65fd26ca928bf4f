#!/bin/sh
# After the files are gone. `purge` is dpkg's: then the state goes, too.
set -e

case "$1" in
upgrade | failed-upgrade | abort-install | abort-upgrade | disappear | 1) exit 0 ;;
purge)
	# The second of each kind is of instances, verdictd@NAME.
	rm -rf /var/lib/verdictd /var/lib/verdictd-* /var/lib/private/verdictd /var/lib/private/verdictd-* \
		/run/verdictd /run/verdictd-*
	rmdir --ignore-fail-on-non-empty /etc/verdictd 2>/dev/null || true
	;;
esac
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
systemctl reset-failed 'verdictd*.service' 'conntrackwatch*.service' 2>/dev/null || true
