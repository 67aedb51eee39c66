#!/usr/bin/env bash
# Builds that are broken on purpose, one per patch in tests/mutations, each of which the feed's oracle must condemn.
#
#   bash tests/mutations.sh [PATCH...]
#
# It takes what is committed, in a work tree below target/mutations, and builds there: no broken program ever stands
# where the usual one does. Other crates are taken over from the usual build, if there is one. What the oracle says of each
# is in target/mutations/NAME.log.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
logs=$root/target/mutations
tree=$logs/tree
build=$logs/build
export CARGO_TARGET_DIR=$build

clean() { git worktree remove --force "$tree" 2>/dev/null || true; }
trap clean EXIT
mkdir -p "$logs"
clean
if [ ! -d "$build" ] && [ -d "$root/target/debug/deps" ]; then
  mkdir -p "$build/debug"
  cp -al "$root"/target/debug/{build,deps,.fingerprint} "$build/debug/"
fi
git worktree prune
git worktree add --quiet --detach "$tree" HEAD

patches=("$@")
[ $# -gt 0 ] || patches=(tests/mutations/*.patch)
survivors=0
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  log=$logs/$name.log
  git -C "$tree" checkout --quiet -- .
  if ! git -C "$tree" apply -C1 "$(realpath "$patch")"; then
    echo "$name: the patch does not fit the code any more; make it anew: change the code, then git diff -U2" >&2
    exit 2
  fi
  if ! (cd "$tree" && cargo test --quiet --locked --test it --no-run) >"$log" 2>&1; then
    echo "$name: does not compile; see $log" >&2
    exit 2
  fi
  if (cd "$tree" && cargo test --quiet --locked --test it oracle::fixed -- --nocapture) >"$log" 2>&1; then
    echo "$name: SURVIVED twenty seeds; see $log"
    survivors=$((survivors + 1))
    continue
  fi
  # The seed, the client, and the first complaint.
  verdict=$(grep -m1 -E '^seed [0-9]+: ' "$log" || true)
  complaint=$(grep -m1 -E '^(lost|extra|doubled|another content|transaction|before an earlier|a resync|no single order|[0-9]+ of )|: (the view is not|a snapshot without)' "$log" || true)
  if [ -z "$verdict" ]; then
    echo "$name: failed, but not by the oracle's verdict; see $log" >&2
    exit 2
  fi
  echo "$name: caught. $verdict"
  echo "    ${complaint:0:200}"
done
[ "$survivors" -eq 0 ]
