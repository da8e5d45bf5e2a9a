#!/bin/sh
# Makes docs/report.png: the top of the report of a run against a lab's cache that answers three requests at a time.
# It needs what `make test` sets up, chromium included. The run takes 96 s.
# Nothing else should use the machine meanwhile, because the report would say so.
set -eu

cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

./ocidriver.py lab --groups 6 --images 8 --max-concurrent 3 --latency 15 -- \
    --workers 6 --iteration-seconds 8 --tally-seconds 1 --progress never \
    --metrics-file "$folder/metrics" --log-file "$folder/log" \
    --events-file "$folder/events.jsonl" --report-file "$folder/report.html"
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-lcd-text --virtual-time-budget=20000 \
    --user-data-dir="$folder/profile" --window-size=1120,1320 --screenshot="$folder/report.png" \
    "file://$folder/report.html" 2>"$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
mv "$folder/report.png" docs/report.png
