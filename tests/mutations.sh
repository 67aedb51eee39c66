#!/usr/bin/env bash
# Builds that are broken on purpose, one per patch in tests/mutations, each of which the feed's oracle must condemn.
#
#   bash tests/mutations.sh [NAME...]          # such as skipped-batch; all of them, if none is named
#
# It takes what is committed, in a folder of its own below TMPDIR that goes when it ends (about 3 GB): no broken program ever
# stands where the usual one does. Other crates are taken over from the usual build, if there is one, so that only this
# one is built: some minutes for each name. What the oracle says of each is in target/mutations/NAME.log.
#
# The oracle runs as in CI, fixed seeds and random ones: where a stream is cut is a matter of moments, and a boundary that is off
# by one shows only where a cut falls right behind a transaction in the midst of a read, which no twenty seeds warrant.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
logs=$root/target/mutations
place=$(mktemp -d -t rowcast-mutations.XXXXXX)
trap 'rm -rf "$place"' EXIT
mkdir -p "$logs" "$place/tree" "$place/build/debug"
export CARGO_TARGET_DIR=$place/build
git archive HEAD | tar -x -C "$place/tree"
if [ -d target/debug/deps ]; then
  cp -a target/debug/{build,.fingerprint} "$place/build/debug/"
  mkdir "$place/build/debug/deps"
  # What this crate itself came to is of another folder, and large.
  find target/debug/deps -maxdepth 1 -type f ! -name '*rowcast*' ! -name 'it-*' -print0 |
    xargs -0 cp -a -t "$place/build/debug/deps"
fi
cd "$place/tree"

names=("$@")
[ $# -gt 0 ] || for patch in tests/mutations/*.patch; do names+=("$(basename "$patch" .patch)"); done
survivors=0
for name in "${names[@]}"; do
  log=$logs/$name.log
  patch=tests/mutations/$name.patch
  if ! git apply -C1 "$patch"; then
    echo "$name: the patch does not fit the code any more; make it anew: change the code, then git diff -U2" >&2
    exit 2
  fi
  if ! cargo test --quiet --locked --test it --no-run >"$log" 2>&1; then
    echo "$name: does not compile; see $log" >&2
    exit 2
  fi
  began=$SECONDS
  if cargo test --quiet --locked --test it -- oracle::fixed oracle::random --nocapture >"$log" 2>&1; then
    echo "$name: SURVIVED the seeds of a CI run; see $log"
    survivors=$((survivors + 1))
  else
    # The seed, the client, and the first complaint.
    verdict=$(grep -m1 -E '^seed [0-9]+: ' "$log" || true)
    complaint=$(grep -m1 -E '^(lost|extra|doubled|another content|transaction|before an earlier|a resync|no single order|[0-9]+ of )|: (the view is not|a snapshot without)' "$log" || true)
    if [ -z "$verdict" ]; then
      echo "$name: failed, but not by the oracle's verdict; see $log" >&2
      exit 2
    fi
    echo "$name: caught after $((SECONDS - began)) s. $verdict"
    echo "    ${complaint:0:200}"
  fi
  git apply -R -C1 "$patch"
done
[ "$survivors" -eq 0 ]
