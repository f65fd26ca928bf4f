#!/bin/sh
# After the files are there. dpkg says `configure` with the version before, or `abort-...`; rpm says how many versions
# there are now. Nothing is started or enabled at the first time: the configuration as it comes queues the UDP that the
# host sends, and that is for the operator to say.
set -e

case "$1" in
configure) [ -n "$2" ] && upgrade=yes || upgrade= ;;
abort-upgrade | abort-remove | abort-deconfigure) exit 0 ;;
1) upgrade= ;;
*) upgrade=yes ;;
esac

# Without systemd, or where it does not run, such as in a container's image that is being built, there is nothing to do.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
if [ -z "$upgrade" ]; then
	# What the next boot does by itself.
	/usr/lib/systemd/systemd-modules-load /usr/lib/modules-load.d/verdictd.conf >/dev/null 2>&1 || true
	/usr/lib/systemd/systemd-sysctl 90-verdictd.conf >/dev/null 2>&1 || true
	exit 0
fi
# A restart hands the queues to the new version with what waits in them; a stop and a start would let them go. Units
# that do not run stay so. One after the other: of several daemons one at least runs at any time.
for unit in $(systemctl list-units --plain --no-legend --state=active,reloading,activating,deactivating,failed \
	verdictd.service 'verdictd@*.service' verdictd-guard.service conntrackwatch.service |
	cut -d ' ' -f 1); do
	systemctl try-restart "$unit" || echo "verdictd: $unit did not restart: systemctl status $unit" >&2
done
