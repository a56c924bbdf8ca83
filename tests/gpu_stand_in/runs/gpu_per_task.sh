#!/usr/bin/env bash
# gpu_per_task.sh PROGRAM own|same CODE REGEX: two processes of one host that see one GPU each, of their
# own or the same, train over NCCL; the job ends with the code and says what the regex wants.
set -u
export program=$1 way=$2
rank() {
  export STAND_IN_DEVICES=1 STAND_IN_FIRST_BUS=1
  [[ $way == same ]] || STAND_IN_FIRST_BUS=$((1 + OMPI_COMM_WORLD_RANK))
  exec "$program" --transport nccl --schedule 1f1b --microbatches 4 --steps 2 --model spin --color never
}
export -f rank
output=$("${MPIEXEC:-mpirun}" --oversubscribe -n 2 bash -c rank 2>&1)
status=$?
[[ $status == "$3" ]] && grep -qE -- "$4" <<<"$output" && exit 0
printf '%s\n' "$output"
echo "expected exit code $3, got $status; expected a line like '$4'"
exit 1
