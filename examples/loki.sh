#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lines pushed as any Loki client would, searched and counted.  Needs a server:
#   sawlog serve
# Usage: examples/loki.sh [URL]
set -eu
url=${1:-http://127.0.0.1:3100}
now=$(date +%s%N)
curl -sf -H 'Content-Type: application/json' "$url/loki/api/v1/push" -d '{"streams": [{
	"stream": {"app": "example", "env": "test"},
	"values": [["'"$now"'", "level=error disk sda1 is 91% full"],
	           ["'"$((now + 1))"'", "level=info cleaned up", {"freed": "12GiB"}]]}]}'
curl -sfG "$url/loki/api/v1/query_range" --data-urlencode 'query={app="example"} |= "disk"'
curl -sfG "$url/loki/api/v1/query" --data-urlencode 'query=sum by (detected_level) (count_over_time({app="example"}[5m]))'
