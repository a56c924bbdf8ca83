#!/usr/bin/env bash
# expect_job.sh CODE REGEX COMMAND...: runs a job that is to fail, and expects this exit code and
# exactly one line of stderr that matches (none where REGEX is empty). Its output is shown when not.
set -u
code=$1 regex=$2
shift 2
errors=$("$@" 2>&1 >/dev/null)
status=$?
lines=$(grep -cE -- "$regex" <<<"$errors")
[[ $status == "$code" ]] && [[ -z $regex || $lines == 1 ]] && exit 0
printf '%s\n' "$errors"
echo "expected exit code $code, got $status; expected one line like '$regex', got $lines"
exit 1
