#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A server, an application that rotates its log, and a forwarder that loses nothing of it.
#   examples/forward.sh [PATH OF sawlog]
set -e
sawlog=${1:-sawlog}
dir=$(mktemp -d)
addr=127.0.0.1:${PORT:-3177}
"$sawlog" serve --data "$dir/store" --http "$addr" 2>"$dir/serve.err" &
serve=$!
forward=
trap 'kill $serve $forward 2>/dev/null; wait; rm -rf "$dir"' EXIT
i=0
until curl -fs "http://$addr/ready" >/dev/null; do
	i=$((i + 1))
	if [ $i -gt 50 ]; then
		cat "$dir/serve.err" >&2
		exit 1
	fi
	sleep 0.1
done

mkdir "$dir/log"
"$sawlog" forward --to "http://$addr" --data "$dir/positions" "$dir/log/*.log" &
forward=$!

for i in 1 2 3 4 5 6; do
	echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) INFO order $i paid" >>"$dir/log/shop.log"
	[ $((i % 2)) = 0 ] && mv "$dir/log/shop.log" "$dir/log/shop.log.$i"
	sleep 0.3
done
sleep 1

# Also from a pipe; it ends when every line is acknowledged.
echo "deployed" | "$sawlog" forward --to "http://$addr" --data "$dir/piped" --app deploy -

"$sawlog" query --addr "http://$addr" --limit 0 '{app=~"shop|deploy"}'
