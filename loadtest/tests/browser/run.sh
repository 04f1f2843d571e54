#!/usr/bin/env bash
# Makes the pages of sample runs and opens them in Chromium. Says "skipped" and why, and passes,
# where there is no browser, no Node.js, or no playwright-core to be had. REPORT_PAGES names a
# directory where the test has put the pages already.
#
# Usage: run.sh [DIRECTORY FOR SCREENSHOTS]
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../../.." && pwd)"

chromium="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}"
if [ -z "$chromium" ]; then
    echo "skipped: no chromium"
    exit 0
fi
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    echo "skipped: no node"
    exit 0
fi
work="${CARGO_TARGET_DIR:-$root/target}/report-pages"
mkdir -p "$work"
cp "$here/package.json" "$work/package.json"
# Without its own downloads: the browser is the one that is installed.
if ! (cd "$work" && npm install --no-audit --no-fund --no-package-lock --silent); then
    echo "skipped: playwright-core can't be installed"
    exit 0
fi
cd "$root"
pages="${REPORT_PAGES:-}"
if [ -z "$pages" ]; then
    pages="$work/pages"
    rm -rf "$pages"
    REPORT_PAGES="$pages" cargo test -p onhand-loadtest --test suite pages_are_written
fi
CHROMIUM="$chromium" PLAYWRIGHT_HOME="$work" node "$here/pages.mjs" "$pages" "$@"
