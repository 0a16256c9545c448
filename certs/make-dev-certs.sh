#!/bin/sh
# Makes certificates for development: a server certificate for localhost and, with --client, a partner's key and CSR.
#
# Git ignores the files (see .gitignore). Do not use them in production.
set -eu

usage() {
    echo "usage: certs/make-dev-certs.sh [--dir DIR] [--host NAME]... [--client NAME] [--force]" >&2
    exit 2
}

dir="$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)/dev"
hosts="" client="" force=""
while [ $# -gt 0 ]; do
    case "$1" in
        --dir) [ $# -ge 2 ] || usage; dir="$2"; shift 2 ;;
        --host) [ $# -ge 2 ] || usage; hosts="$hosts $2"; shift 2 ;;
        --client) [ $# -ge 2 ] || usage; client="$2"; shift 2 ;;
        --force) force=1; shift ;;
        *) usage ;;
    esac
done

command -v openssl >/dev/null || { echo "make-dev-certs: openssl is needed" >&2; exit 1; }
if [ -e "$dir/ca.pem" ] && [ -z "$force" ]; then
    echo "make-dev-certs: $dir/ca.pem is there already; --force makes everything anew" >&2
    exit 1
fi

umask 077
mkdir -p "$dir"
cd "$dir"

names="DNS:localhost,IP:127.0.0.1,IP:::1"
for host in $hosts; do
    case "$host" in
        *[!A-Za-z0-9.*_-]*) echo "make-dev-certs: not a host name: $host" >&2; exit 2 ;;
    esac
    names="$names,DNS:$host"
done
case "$client" in
    *[!a-z0-9._-]*) echo "make-dev-certs: a client's name has a-z, 0-9, '.', '_' and '-'" >&2; exit 2 ;;
esac

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null \
    || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

key ca.key
openssl req -x509 -new -key ca.key -sha256 -days 30 -out ca.pem \
    -subj "/CN=Countersign development CA" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign"

key server.key
openssl req -new -key server.key -subj "/CN=localhost" -out server.csr
cat > server.ext <<EXT
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=$names
EXT
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -sha256 -days 30 \
    -set_serial "0x01$(openssl rand -hex 15)" -extfile server.ext -out server.pem 2>/dev/null
openssl verify -CAfile ca.pem -purpose sslserver server.pem >/dev/null
rm -f server.csr server.ext

echo "server certificate: $dir/server.pem (key: $dir/server.key), trusted through $dir/ca.pem"
echo "  tls: { certificates: [{ cert: $dir/server.pem, key: \"\${file:$dir/server.key}\" }] }"

if [ -n "$client" ]; then
    key "$client.key"
    openssl req -new -key "$client.key" -subj "/CN=$client" -out "$client.csr"
    echo "partner's CSR: $dir/$client.csr (key: $dir/$client.key)"
    echo "  countersign cert sign --app $client --name dev --csr $dir/$client.csr -o $dir/$client.pem"
fi
