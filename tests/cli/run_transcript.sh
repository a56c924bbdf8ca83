#!/usr/bin/env bash
# Runs the commands of a transcript and compares what they print with what it says.
#   run_transcript.sh FILE BIN_DIR SOURCE_DIR            compare
#   run_transcript.sh FILE BIN_DIR SOURCE_DIR --update   write what they print now; review the diff
# A transcript has lines "$ command", each followed by the command's stdout and stderr and, where it
# fails, "[exit N]". Lines starting with # are comments. Commands run in an empty directory that has
# the source's configs/ and the transcript's own directory as here/.
set -uo pipefail
file=$(realpath "$1") bin=$(realpath "$2") source=$(realpath "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH=$bin:$PATH NO_COLOR=1 COLUMNS=100
mkdir "$work/dir" && cd "$work/dir" || exit 1
ln -s "$source/configs" configs
ln -s "$(dirname "$file")" here

play() {
  local line status
  while IFS= read -r line; do
    case $line in
      '#'*) printf '%s\n' "$line" ;;
      '$ '*)
        printf '%s\n' "$line"
        bash -c "${line#??}" 2>&1 </dev/null
        status=$?
        ((status == 0)) || printf '[exit %d]\n' "$status"
        ;;
    esac
  done <"$file"
}

play >"$work/now"
if [[ ${4-} == --update ]]; then
  cp "$work/now" "$file"
else
  diff -u "$file" "$work/now"
fi
