#!/bin/sh
# Makes the certificates that the TLS tests of src/revoiceit use: two CAs that know nothing of each other, and a server
# certificate of the first, for the name "localhost" only. Valid for a hundred years; the keys protect nothing.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=$2" \
        -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign -keyout "$tmp/$1.key" -out "$1.pem"
}
ca ca "revoiceit-operator test CA"
ca other-ca "revoiceit-operator other test CA"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout localhost.key -out "$tmp/localhost.csr"
printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:false\n' >"$tmp/ext"
openssl x509 -req -in "$tmp/localhost.csr" -CA ca.pem -CAkey "$tmp/ca.key" -set_serial 1 -days 36500 -extfile "$tmp/ext" -out localhost.pem
