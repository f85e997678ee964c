#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sawlog in the place of NEMO_Nowcast's log aggregator: four publishers, the log file they
# make, and a search.  Needs python3-zmq and python3-yaml.
# Usage: examples/a-nowcast/run.sh [SAWLOG]     (default: build/release/sawlog)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sawlog=${1:-$here/../../build/release/sawlog}
config=${CONFIG:-$here/nowcast.yaml}
python=${PYTHON:-python3}
"$python" -c 'import yaml, zmq' 2>/dev/null || python=/usr/bin/python3
export SAWLOG_ADDR="http://127.0.0.1:${PORT:-3100}"
export NOWCAST_LOGS NOWCAST_ENV=/usr
NOWCAST_LOGS=$(mktemp -d)
trap 'kill $pid 2>/dev/null; wait; rm -rf "$NOWCAST_LOGS"' EXIT

"$sawlog" nowcast "$config" --data "$NOWCAST_LOGS/sawlog" --http "127.0.0.1:${PORT:-3100}" &
pid=$!
until curl -sf "$SAWLOG_ADDR/ready" >/dev/null; do
	kill -0 $pid
	sleep 0.1
done

publishers=
for name in message_broker manager run_NEMO make_plots; do
	"$python" "$here/publisher.py" "$config" "$name" &
	publishers="$publishers $!"
done
for publisher in $publishers; do
	wait "$publisher"
done
until [ "$(grep -c 'shutting down' "$NOWCAST_LOGS/nowcast.log")" = 4 ]; do
	kill -0 $pid
	sleep 0.1
done

echo "--- nowcast.log"
cat "$NOWCAST_LOGS/nowcast.log"
echo "--- and the same from the store: what make_plots said of forecasts"
"$sawlog" query '{logger="make_plots"} |= "forecast"' -o raw
