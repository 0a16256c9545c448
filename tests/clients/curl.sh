#!/bin/sh
# curl. Arguments: --http1.1 or --http2, and whatever else curl takes.
set -eu
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
set -- --silent --show-error --max-time 60 --cacert "$CA" "$@"
[ -z "${CERT-}" ] || set -- "$@" --cert "$CERT" --key "$KEY"
[ -z "${BODY-}" ] || set -- "$@" --data-binary "@$BODY" --header 'Content-Type: application/octet-stream'
for _ in $(seq "$CALLS"); do
  : >"$answer"
  if said=$(curl "$@" --output "$answer" --write-out '%{http_code}' "$URL" 2>&1); then
    echo "== $said"
    cat "$answer"
    echo
  else
    echo "== failed: $said"
  fi
done
