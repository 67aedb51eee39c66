#!/bin/sh
# Makes the certificates the tests use; they are good from 2020 to 2120 and protect nothing.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/ca.cnf" <<CONFIG
[ca]
default_ca = own
[own]
database = $work/index
rand_serial = yes
new_certs_dir = $work
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
[server]
subjectAltName = DNS:localhost
[req]
distinguished_name = nothing
[nothing]
CONFIG
: > "$work/index"
make() { # name, common name, extensions, further arguments of openssl ca
    name=$1 common_name=$2 extensions=$3 && shift 3
    openssl ecparam -name prime256v1 -genkey -noout -out "$work/$name.key"
    openssl req -new -config "$work/ca.cnf" -key "$work/$name.key" -subj "/CN=$common_name" -out "$work/$name.csr"
    openssl ca -batch -notext -config "$work/ca.cnf" -extensions "$extensions" \
        -startdate 20200101000000Z -enddate 21200101000000Z \
        -in "$work/$name.csr" -out "$name.crt" "$@"
}
make authority authority authority -selfsign -keyfile "$work/authority.key"
make stranger stranger authority -selfsign -keyfile "$work/stranger.key"
make server localhost server -cert authority.crt -keyfile "$work/authority.key"
cp "$work/server.key" server.key
