#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two servers with TLS and tokens, and a forwarder that goes to the second while the first is away.
#   examples/forward-tls.sh [PATH OF sawlog]
set -e
sawlog=${1:-sawlog}
dir=$(mktemp -d)
port1=${PORT:-3177} port2=${PORT2:-3178}
first= second= forward=
trap 'kill $first $second $forward 2>/dev/null || :; wait; rm -rf "$dir"' EXIT
cd "$dir"

# A certificate that signs itself; in earnest one of your own authority.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
	-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null
chmod 600 key.pem
"$sawlog" token create --tokens-file tokens --scope ingest,read web1 2>/dev/null >token

cat >server.yaml <<'END'
http: {tls: {cert: cert.pem, key: key.pem}}
auth: {tokens_file: tokens}
END
serve() {
	"$sawlog" serve -c server.yaml --data "$dir/store$1" --http "127.0.0.1:$1" 2>>"serve$1.err" >/dev/null &
}
ready() {
	i=0
	until curl -fs --cacert cert.pem "https://localhost:$1/ready" >/dev/null; do
		i=$((i + 1))
		[ $i -lt 50 ] || { cat "serve$1.err" >&2; exit 1; }
		sleep 0.1
	done
}
serve "$port1"
first=$!
serve "$port2"
second=$!
ready "$port1"
ready "$port2"

cat >forward.yaml <<END
url: [https://localhost:$port1, https://localhost:$port2]
token_file: token
ca: cert.pem
failover_after: 1s
paths: [$dir/shop.log]
END
echo "order 1 paid" >shop.log
"$sawlog" forward -c forward.yaml --data "$dir/positions" 2>forward.err &
forward=$!

at() {
	SAWLOG_TOKEN=$(cat token) SAWLOG_CA=cert.pem "$sawlog" query --addr "https://localhost:$1" '{app="shop"}' 2>/dev/null
}
until_at() {
	i=0
	until at "$1" | grep -q "$2"; do
		i=$((i + 1))
		[ $i -lt 100 ] || { cat forward.err >&2; exit 1; }
		sleep 0.1
	done
}
until_at "$port1" "order 1"
kill $first
wait $first || :
first=
echo "order 2 paid" >>shop.log
until_at "$port2" "order 2"
echo "at the second, while the first is away:"
at "$port2"
