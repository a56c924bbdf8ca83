#!/usr/bin/env bash
# near_losses.sh ONE OTHER TOLERANCE: the losses in two outputs of `dualpipe-run --format json` are
# equally many, are numbers, and none differs from the other by more than TOLERANCE of it. Prints the
# largest difference, or what is wrong.
set -euo pipefail
losses() { sed -nE 's/.*"loss":\[([^]]*)\].*/\1/p' "$1" | tr ',' '\n'; }
paste -d ' ' <(losses "$1") <(losses "$2") | awk -v tolerance="$3" '
  function size(x) { return x < 0 ? -x : x }
  NF != 2 { wrong = "not as many losses" }
  !/^[-+.0-9e]+ [-+.0-9e]+$/ { wrong = wrong ? wrong : "a loss that is no number" }
  {
    difference = size($1 - $2) / (size($2) > 1e-30 ? size($2) : 1)
    if (difference > largest) largest = difference
  }
  END {
    if (NR == 0) wrong = "no losses"
    if (!wrong && largest > tolerance) wrong = sprintf("losses differ by %.1e of them", largest)
    print wrong ? wrong : sprintf("%.1e", largest)
    exit wrong != ""
  }'
