#!/bin/sh
# openssl s_client: a request written by hand, as people do who look for a fault.
set -eu
authority=${URL#https://}
path=/${authority#*/}
authority=${authority%%/*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
  if [ -z "${BODY-}" ]; then
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$path" "$authority"
  else
    printf 'POST %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n' "$path" "$authority"
    printf 'Content-Type: application/octet-stream\r\nContent-Length: %s\r\n\r\n' "$(wc -c <"$BODY")"
    cat "$BODY"
  fi
} >"$work/request"
set -- -quiet -ign_eof -connect "$authority" -servername "${authority%:*}" -CAfile "$CA" -verify_return_error
[ -z "${CERT-}" ] || set -- "$@" -cert "$CERT" -key "$KEY" -cert_chain "$CERT"
for _ in $(seq "$CALLS"); do
  if timeout 60 openssl s_client "$@" <"$work/request" >"$work/answer" 2>"$work/said"; then
    :
  fi
  status=$(sed -n '1s|^HTTP/1.1 \([0-9]*\).*|\1|p' "$work/answer")
  if [ -n "$status" ]; then
    echo "== $status"
    # What follows the empty line that ends the head.
    sed '1,/^\r$/d' "$work/answer"
    echo
  else
    echo "== failed: $(tr '\n' ' ' <"$work/said")"
  fi
done
