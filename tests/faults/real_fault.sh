#!/usr/bin/env bash
# real_fault.sh PROGRAM FAULT CODE REGEX: two processes of broken_job under mpirun. Expects this exit
# code within half a minute (the machine may be busy), exactly one line that matches, and nothing
# left: no process, no file in /dev/shm. The faults that come from outside:
#   continue       the rank that stops itself is continued before the deadline
#   launcher_dies  mpirun is killed; its ranks go at once, not when MPI notices
set -u
program=$1 fault=$2 code=$3 regex=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/ranks"
# Sanitizers have their own way with signals, and leaks of what has been killed are none.
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
export OMPI_MCA_btl_vader_backing_directory=/dev/shm

fail() {
  cat "$work/output"
  echo "$*"
  exit 1
}
job() {
  "${MPIEXEC:-mpirun}" --oversubscribe -n 2 "$program" "$1" "$work/ranks" >"$work/output" 2>&1 \
    </dev/null &
}
# The process of the job that is stopped, once there is one.
stopped() {
  local rank
  for ((attempt = 0; attempt < 200; ++attempt)); do
    for rank in "$work/ranks"/*; do
      if grep -qs '^State:.T' "/proc/${rank##*/}/status"; then
        echo "${rank##*/}"
        return
      fi
    done
    sleep 0.05
  done
}

begin=$SECONDS
patience=20 # twentieths of a second for processes to be gone
case $fault in
  continue)
    job stop
    rank=$(stopped)
    sleep 0.5
    kill -CONT "$rank" || fail "no rank has stopped"
    ;;
  launcher_dies)
    # Its own files are left behind with nobody to remove them: have them where this script does.
    export TMPDIR=$work OMPI_MCA_btl=self,tcp
    job hang
    until [[ $(ls "$work/ranks" | wc -l) == 2 || $SECONDS -gt $((begin + 9)) ]]; do sleep 0.05; done
    kill -KILL $!
    patience=8
    ;;
  *) job "$fault" ;;
esac
wait $!
status=$?
[[ $status == "$code" ]] || fail "expected exit code $code, got $status"
((SECONDS - begin <= 30)) || fail "took $((SECONDS - begin)) s"
lines=$(grep -cE -- "$regex" "$work/output")
[[ -z $regex || $lines == 1 ]] || fail "expected one line like '$regex', got $lines"

# Whether a process runs; one that nobody has asked for its exit code does not.
runs() {
  grep -qsE '^State:.[^ZX]' "/proc/$1/status"
}
for rank in "$work/ranks"/*; do
  for ((attempt = 0; attempt < patience; ++attempt)); do
    runs "${rank##*/}" || break
    sleep 0.05
  done
  ! runs "${rank##*/}" || fail "process ${rank##*/} is left after the job"
  while IFS= read -r file; do
    [[ ! -e $file ]] || fail "$file is left"
  done <"$rank"
done
