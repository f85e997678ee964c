#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A server, a log with Windows line ends that is rotated and then lost on its host, and both
# generations of it back, byte for byte.
#   examples/cat.sh [PATH OF sawlog]
set -e
sawlog=${1:-sawlog}
dir=$(mktemp -d)
addr=127.0.0.1:${PORT:-3178}
"$sawlog" serve --data "$dir/store" --http "$addr" 2>"$dir/serve.err" &
serve=$!
trap 'kill $serve 2>/dev/null; wait; rm -rf "$dir"' EXIT
i=0
until curl -fs "http://$addr/ready" >/dev/null; do
	i=$((i + 1))
	if [ $i -gt 50 ]; then
		cat "$dir/serve.err" >&2
		exit 1
	fi
	sleep 0.1
done

log=$dir/shop.log
printf 'order 1 paid\r\norder 2 paid\r\n' >"$log"
"$sawlog" forward --once --to "http://$addr" --data "$dir/positions" "$log"
cp "$log" "$dir/kept.1"
mv "$log" "$log.1"
printf 'order 3 paid\r\norder 4 was cut sho' >"$log"
"$sawlog" forward --once --to "http://$addr" --data "$dir/positions" "$log"
cp "$log" "$dir/kept.2"
rm "$log" "$log.1"

file=$(hostname):$log
"$sawlog" cat --addr "http://$addr" --list "$file"
"$sawlog" cat --addr "http://$addr" --generation 1 "$file" | cmp - "$dir/kept.1"
"$sawlog" cat --addr "http://$addr" "$file" | cmp - "$dir/kept.2"
echo "both are whole"
