#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sawlog in the place of Loggregator: a router, two servers, emitters of 2013 and of 2014 that sign, `sawlog logs`, a
# drain to a real rsyslogd, kill -9 of a server in mid-flow, and the old recent.  All is started here and ended here, on
# loopback, in half a minute.  Needs rsyslogd, python3 and curl.
# Usage: examples/d-loggregator/run.sh [SAWLOG]     (default: build/release/sawlog)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sawlog=${1:-$here/../../build/release/sawlog}
sawlog=$(cd "$(dirname "$sawlog")" && pwd)/$(basename "$sawlog")
port=${PORT:-3100} # and the four behind it
PATH=$PATH:/usr/sbin
work=$(mktemp -d)
pids=
end() {
	trap - EXIT
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill $pids 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap end EXIT
trap 'exit 1' HUP INT TERM

wait_for() { # what, seconds, command…
	what=$1 until=$(($(date +%s) + $2))
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $until ] || { echo "not in time: $what" >&2; tail -n 5 "$work"/*.log >&2; exit 1; }
		sleep 0.2
	done
}
api() { # N
	echo "http://127.0.0.1:$((port + $1))"
}

echo "--- a drain: rsyslogd"
cat >"$work/rsyslog.conf" <<END
global(workDirectory="$work")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="$((port + 3))")
template(name="raw" type="string" string="%rawmsg%\n")
action(type="omfile" file="$work/drained" template="raw")
END
rsyslogd -n -f "$work/rsyslog.conf" -i "$work/rsyslogd.pid" >"$work/rsyslogd.log" 2>&1 &
pids="$pids $!"

echo "--- two servers and a router"
server() { # N
	LISTEN=127.0.0.1:$((port + $1)) DRAIN=syslog://127.0.0.1:$((port + 3)) \
		"$sawlog" serve -c "$here/server.yaml" --data "$work/data-$1" >>"$work/server-$1.log" 2>&1 &
	echo $! >"$work/server-$1.pid"
	pids="$pids $!"
	wait_for "server $1" 30 curl -sf "$(api "$1")/ready"
}
server 1
server 2
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$work/secret"
udp=127.0.0.1:$((port + 4))
LISTEN=127.0.0.1:$port UDP=$udp SECRET=$work/secret SERVER1=$(api 1) SERVER2=$(api 2) \
	"$sawlog" route -c "$here/route.yaml" --data "$work/data-route" >"$work/router.log" 2>&1 &
pids="$pids $!"
wait_for "the router" 30 curl -sf "$(api 0)/ready"

echo "--- sawlog logs, by the manifest of this folder"
(cd "$here" && exec "$sawlog" logs --addr "$(api 0)" -n 0) >"$work/logs" 2>"$work/logs.log" &
pids="$pids $!"
wait_for "logs is connected" 20 grep -q Connected "$work/logs.log"

echo "--- two emitters, and kill -9 of a server"
python3 "$here/source.py" "$udp" "$work/secret" shop 500 &
source=$!
"$sawlog" emit "loggregator=udp://$udp" --app shop --secret-file "$work/secret" --generate --count 500 --rate 250 \
	>"$work/emitted" 2>&1 &
emit=$!
sleep 0.7
kill -9 "$(cat "$work/server-1.pid")"
wait "$(cat "$work/server-1.pid")" 2>/dev/null || true # its address and its folder are free when it is gone
sleep 0.7
server 1
wait $source
wait $emit
cat "$work/emitted"
echo "--- and one that has not the secret"
echo guessed >"$work/guessed"
"$sawlog" emit "loggregator=udp://$udp" --app shop --secret-file "$work/guessed" --generate --count 3

lines() { # at least, file
	[ "$(grep -c . "$2")" -ge "$1" ]
}
recent() {
	"$sawlog" logs shop --recent --addr "$(api 0)" -n 2000 >"$work/recent" 2>>"$work/recent.log" && lines 1000 "$work/recent"
}
wait_for "all of them recent" 30 recent
wait_for "all of them live" 30 lines 1000 "$work/logs"
wait_for "all of them drained" 30 lines 1000 "$work/drained"

echo "--- what came"
tail -n 3 "$work/logs"
echo "recent: $(grep -c . "$work/recent")"
echo "live: $(grep -c . "$work/logs")"
echo "drained: $(sort -u "$work/drained" | grep -c .)"
tail -n 1 "$work/drained"
curl -sf "$(api 0)/metrics" | sed -n 's/^sawlog_dropped_records_total{.*reason="signature".*} /refused: /p'

echo "--- and as Loggregator's own clients ask for it"
type=$(curl -s -o "$work/multipart" -w '%{content_type}' "$(api 0)/recent?app=shop")
echo "$type"
[ "$(grep -ac -- "${type#*boundary=}" "$work/multipart")" -gt 900 ]
