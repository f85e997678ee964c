#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The batch API: lines keyed by host, file and line number.  Needs a server:
#   sawlog serve
# Usage: examples/batch.sh [URL]
set -eu
url=${1:-http://127.0.0.1:3100}
curl -sf "$url/ruok" && echo
for i in 0 2 4 6 8; do
	curl -sf -H 'Content-Type: application/json' -H 'Accept: application/json' "$url/store/batch" -d '{"batch": [
		{"uuid": "a", "host": "box", "file": "/tmp/test1.txt", "line-num": '$i', "content": "'$((i + 1))'"},
		{"uuid": "b", "host": "box", "file": "/tmp/test1.txt", "line-num": '$((i + 1))', "content": "'$((i + 2))'"}], "size": 2}'
	echo
done
curl -sf "$url/store/log?host=box&file=/tmp/test1.txt" && echo
