#!/usr/bin/env bash
# refused.sh CODE REGEX COMMAND...: the command ends with this exit code, and stderr has a line that
# matches. Every rank may have said it.
set -u
code=$1 regex=$2
shift 2
errors=$("$@" 2>&1 >/dev/null)
status=$?
[[ $status == "$code" ]] && grep -qE -- "$regex" <<<"$errors" && exit 0
printf '%s\n' "$errors"
echo "expected exit code $code, got $status; expected a line like '$regex'"
exit 1
