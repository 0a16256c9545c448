#!/bin/sh
# GNU Wget.
set -eu
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
set -- --quiet --server-response --tries=1 --timeout=60 --content-on-error --ca-certificate="$CA"
[ -z "${CERT-}" ] || set -- "$@" --certificate="$CERT" --private-key="$KEY"
[ -z "${BODY-}" ] || set -- "$@" --post-file="$BODY" --header='Content-Type: application/octet-stream'
for _ in $(seq "$CALLS"); do
  : >"$answer"
  # It ends with 8 when the answer is a refusal and with 6 when that is 401, of which it never shows the body. The
  # answer's head goes to standard error.
  code=0
  said=$(wget "$@" --output-document="$answer" "$URL" 2>&1) || code=$?
  status=$(printf '%s\n' "$said" | sed -n 's|^ *HTTP/1.1 \([0-9]*\).*|\1|p' | tail -n 1)
  if [ -n "$status" ] && { [ "$code" = 0 ] || [ "$code" = 8 ] || [ "$code" = 6 ]; }; then
    echo "== $status"
    cat "$answer"
    echo
  else
    echo "== failed: exit code $code: $(printf '%s' "$said" | tr '\n' ' ')"
  fi
done
