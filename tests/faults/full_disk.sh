#!/usr/bin/env bash
# full_disk.sh COMMAND...: a run that traces to a full disk. It ends with exit code 5 and says why,
# after it has printed its result.
set -u
export ASAN_OPTIONS=detect_leaks=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$@" --schedule dualpipe --microbatches 4 --model mlp --width 8 --layers 8 --microbatch-size 2 \
  --steps 2 --format json --color never --trace /dev/full >"$work/result" 2>"$work/errors" </dev/null
status=$?
[[ $status == 5 ]] && grep -q '"loss":' "$work/result" &&
  grep -q "cannot write '/dev/full': No space left on device" "$work/errors" && exit 0
cat "$work/result" "$work/errors"
echo "expected a result, exit code 5 and the reason; got exit code $status"
exit 1
