#!/bin/sh
# Before the files go. An upgrade stops nothing: what runs is restarted when the new files are there. A removal stops in
# order, which takes the rules and the queues away and leaves no descriptor with systemd.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0
for unit in $(systemctl list-units --all --plain --no-legend \
	verdictd.service 'verdictd@*.service' verdictd-guard.service conntrackwatch.service |
	cut -d ' ' -f 1); do
	systemctl stop "$unit" || true
done
for unit in $(systemctl list-unit-files --plain --no-legend --state=enabled,enabled-runtime \
	verdictd.service 'verdictd@*.service' verdictd-guard.service conntrackwatch.service |
	cut -d ' ' -f 1); do
	systemctl --quiet disable "$unit" || true
done
