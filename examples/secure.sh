#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Certificates, tokens, a server that asks for both, a push and a query.
#   examples/secure.sh [PATH OF sawlog]
set -e
sawlog=${1:-sawlog}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
serve=
trap 'kill $serve 2>/dev/null; wait; rm -rf "$dir"' EXIT

# An authority, and a certificate for this machine.
cd "$dir"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
	-keyout ca.key -out ca.pem -subj "/CN=sawlog example" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
	-keyout server.key -out server.csr -subj "/CN=localhost" 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
	-extfile ext -out server.pem 2>/dev/null
chmod 600 server.key

# Two tokens: who writes need not read.
export PEM="$dir" LISTEN="127.0.0.1:${PORT:-3178}"
writer=$("$sawlog" token create --tokens-file tokens --scope ingest web1 2>/dev/null)
reader=$("$sawlog" token create --tokens-file tokens --scope read --expires 1d me 2>/dev/null)

"$sawlog" serve -c "$here/secure.yaml" --data "$dir/store" 2>serve.err &
serve=$!
url=https://localhost:${PORT:-3178}
i=0
until curl -fs --cacert ca.pem "$url/ready" >/dev/null; do
	i=$((i + 1))
	if [ $i -gt 50 ]; then
		cat serve.err >&2
		exit 1
	fi
	sleep 0.1
done

export SAWLOG_ADDR="$url" SAWLOG_CA=ca.pem
SAWLOG_TOKEN=$writer "$sawlog" emit "loki=$url" --app shop 'order 1 paid' 'order 2 paid'
SAWLOG_TOKEN=$reader "$sawlog" query '{app="shop"}'
# Any client that knows HTTP Basic: the token is the password.
curl -fsS --cacert ca.pem -u "me:$reader" "$url/loki/api/v1/labels"
# A token that may write may not read, and nobody gets in without one.
SAWLOG_TOKEN=$writer "$sawlog" query '{app="shop"}' || echo "exit status $?"
"$sawlog" query '{app="shop"}' || echo "exit status $?"
