#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sawlog in the place of kavvya97/log_aggregator: three brokers, three collectors that share their queue and answer
# for each other, the old source services, an alert that fires, kill -9 of a collector and of a broker in mid-flow, and
# the search.  All is started here, without systemd or Docker, and ended here.  It takes a minute.
# Needs rabbitmq-server, python3-pika, python3-pytest, curl and jq.
# Usage: examples/c-rabbitmq/run.sh [SAWLOG]     (default: build/release/sawlog)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sawlog=${1:-$here/../../build/release/sawlog}
python=${PYTHON:-python3}
"$python" -c 'import pika, pytest' 2>/dev/null || python=/usr/bin/python3
port=${PORT:-3100}
work=$(mktemp -d)
pids=
end() {
	trap - EXIT
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill $pids 2>/dev/null || true
	exec 3>&-
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

echo "--- three brokers"
mkfifo "$work/hold"
"$python" "$here/../../tests/scenario/rabbit.py" 3 <"$work/hold" >"$work/brokers" &
exec 3>"$work/hold"
wait_for "three brokers" 240 grep -q ready "$work/brokers"
url() { # N
	sed -n "$1s/ .*//p" "$work/brokers"
}

echo "--- three collectors on one quorum queue"
api() { # N
	echo "http://127.0.0.1:$((port + $1))"
}
collector() { # N
	RABBITMQ_URI=$(url "$1") LISTEN=127.0.0.1:$((port + $1)) SAWLOG_PEERS=$(api 1),$(api 2),$(api 3) \
		"$sawlog" serve -c "$here/sawlog.yaml" --data "$work/data-$1" >>"$work/collector-$1.log" 2>&1 &
	echo $! >"$work/collector-$1.pid"
	pids="$pids $!"
	wait_for "collector $1" 30 curl -sf "$(api "$1")/ready"
}
for n in 1 2 3; do
	collector $n
done
consumes() { # N
	curl -sf "$(api "$1")/metrics" | grep -q '^sawlog_amqp_connected{[^}]*} 1'
}
for n in 1 2 3; do
	wait_for "collector $n consumes" 60 consumes $n
done

echo "--- the old source services, and sawlog emit, which waits for confirms"
sources=
for n in 1 2; do
	RABBITMQ_URI=$(url $n) "$python" "$here/source.py" 200 0.01 >"$work/source-$n" &
	sources="$sources $!"
done
"$sawlog" emit "amqp=$(url 1)" --app Checkout --severity Error --generate --count 3000 --rate 1000 --give-up 60s \
	>"$work/emitted" 2>&1 &
sources="$sources $!"
sleep 1

echo "--- kill -9 of a collector and of a broker"
kill -9 "$(cat "$work/collector-2.pid")"
wait "$(cat "$work/collector-2.pid")" || true # its address and its folder are free when it is gone
kill -9 "$(sed -n '3s/.* //p' "$work/brokers")"
collector 2
for s in $sources; do
	wait "$s"
done
cat "$work/emitted"

stored() { # query, least, most
	n=$("$sawlog" query --addr "$(api 1)" --instant "sum(count_over_time($1[1h]))" -o json | jq -r '.[0].value[1]')
	echo "$1: $n" >"$work/stored"
	[ "$n" -ge "$2" ] && [ "$n" -le "$3" ]
}
# What emit sends has ids, by which a message that the broker delivered twice is told once.  The old services give none:
# nothing of theirs is lost, but what was under way at the kills may be there twice.
echo "--- all of them are there"
wait_for "3000 of Checkout" 60 stored '{app="Checkout"}' 3000 3000
cat "$work/stored"
wait_for "400 of the services" 60 stored '{app=~"Service."}' 400 9999
cat "$work/stored"

echo "--- the alert fires"
fires() {
	"$sawlog" alert list --addr "$(api 1)" --state firing | grep -q errors
}
wait_for "the alert" 30 fires
"$sawlog" alert list --addr "$(api 1)"

echo "--- and the old search, at any of the three"
want=$(cat "$work"/source-* | grep -c "to 'ServiceA.Error'")
for n in 1 2 3; do
	got=$(curl -sf "$(api $n)/logs/ServiceA/Error" | jq '.logs | length')
	echo "collector $n: $got, sent $want"
	[ "$got" -ge "$want" ]
done
curl -sf "$(api 1)/logs/ServiceA/Error" | jq -c '.logs[0]'
