#!/usr/bin/env bash
# A quick look at the whole: the binary says what it is, and serves the protocol of existing clients.
# OSS_SMOKE_SKIP_REMOTE_CONTROL_COMPAT=1 leaves the suite of that protocol out.
set -euo pipefail
cd "$(dirname "$0")/.."

make --no-print-directory build
target/debug/belay --version
target/debug/belay config > /dev/null && echo "smoke: the configuration can be read"

case "${OSS_SMOKE_SKIP_REMOTE_CONTROL_COMPAT:-}" in
  1) echo "smoke: SKIPPED the suite of the compat protocol, as OSS_SMOKE_SKIP_REMOTE_CONTROL_COMPAT=1 asks" ;;
  *) make --no-print-directory remote-control-compat ;;
esac
echo "smoke: all of it passed"
