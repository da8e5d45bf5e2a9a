#!/bin/sh
# Fetches a version of the charting library of the pages: scripts/charting_library.sh 4.1.1
# Then change the version and the checksum in tests/pages/test_library.py, and THIRD_PARTY.md.
set -eu

cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

npm pack --silent --pack-destination "$folder" "plotly.js-basic-dist-min@$1"
tar -xzf "$folder/plotly.js-basic-dist-min-$1.tgz" -C "$folder"
cp "$folder/package/plotly-basic.min.js" lib/pages/
cat "$folder/package/LICENSE"
sha256sum lib/pages/plotly-basic.min.js
