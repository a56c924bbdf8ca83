#!/usr/bin/env bash
# gpu_check_judges.sh SCRIPT: what scripts/gpu-check makes of programs that end well, badly, or not at
# all. The program here is played: it prints what it is told to.
set -u
script=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/built/bin" "$work/path" "$work/out"
export GPU_CHECK_GPUS=1 OUT=$work/out PATH=$work/path:$PATH
good='{"loss":[5.5,4.25],"step_time_ns":[3000000,1000000,2000000],"max_gradient_difference":0.0,"model":"mlp"}'

# plays ON_GPUS: prints that, but as a run on processors what is right.
plays() {
  cat >"$work/built/bin/dualpipe-run" <<PROGRAM
#!/usr/bin/env bash
if [[ " \$* " == *" --transport inproc "* ]]; then echo '$good'; exit; fi
$1
PROGRAM
  chmod +x "$work/built/bin/dualpipe-run"
}

checks=0
fail() {
  printf '%s\n' "check $checks: $*" "$output"
  exit 1
}
# expect CODE REGEX_OF_TABLE [OPTION...]: and the JSON has as many checks as the table.
expect() {
  local code=$1 regex=$2 status=0
  shift 2
  ((++checks))
  rm -f "$work"/out/*
  output=$("$script" --build "$work/built" "$@" 2>"$work/errors") || status=$?
  output+=$'\n'$(<"$work/errors")
  [[ $status == "$code" ]] || fail "expected exit code $code, got $status"
  grep -qE -- "$regex" <<<"$output" || fail "expected a line like '$regex'"
  [[ $(grep -cE '^(cuda|nccl|comp|too|trace|killed).* (passed|FAILED|skipped) ' <<<"$output") == \
    $(grep -c '"name":' "$work/out/gpu-check.json") ]] || fail "the JSON has other rows than the table"
  tar -tzf "$work/out/gpu-check-logs.tar.gz" >/dev/null || fail "no logs"
}
mlp=(--only "cuda-inproc dualpipe mlp, 2 ranks")

plays "echo '$good'"
expect 0 '^cuda-inproc dualpipe mlp +2  passed .* median step 2.000 ms, losses off by 0.0e\+00' "${mlp[@]}"
expect 2 "no row has 'something'" --only something
plays "echo '${good/4.25/4.2501}'"
expect 0 ' passed .*losses off by 2.4e-05' "${mlp[@]}"
plays "echo '${good/4.25/4.251}'"
expect 1 ' FAILED .*against processors: losses differ by 2.4e-04' "${mlp[@]}"
plays "echo '${good/4.25/null}'"
expect 1 ' FAILED .*a loss that is no number' "${mlp[@]}"
plays "echo '${good/5.5,/}'"
expect 1 ' FAILED .*not as many losses' "${mlp[@]}"
plays "echo '${good/0.0/null}'"
expect 1 ' FAILED .*gradients off by null' "${mlp[@]}"
plays "echo '${good/0.0/1e-7}'"
expect 1 ' FAILED .*gradients off by 1e-7' "${mlp[@]}"
plays "exit 3"
expect 1 ' FAILED .*exit code 3, expected 0: $' "${mlp[@]}"
plays "echo 'GPU: \"it\" is gone' >&2; exit 88"
expect 1 ' FAILED .*exit code 88, expected 0: GPU: it is gone$' "${mlp[@]}"
expect 1 '^too long a wait .* FAILED .*exit code 88, expected 86' --only "too long"

# compute-sanitizer finds something, nothing, or does not know the GPU.
printf '#!/usr/bin/env bash\necho "========= Error: Device not supported."\nexit 1\n' >"$work/path/compute-sanitizer"
chmod +x "$work/path/compute-sanitizer"
expect 0 '^compute-sanitizer racecheck gpt +2  skipped .*Device not supported' --only "racecheck gpt"
printf '#!/usr/bin/env bash\necho "========= ERROR SUMMARY: 1 error"\nexit 9\n' >"$work/path/compute-sanitizer"
expect 1 '^compute-sanitizer racecheck gpt +2  FAILED .*1 error' --only "racecheck gpt"

# Cut short: the rows that were done are there, and nothing is left running.
plays 'if [[ " $* " == *" nccl "* ]]; then echo $$ >"'"$work"'/process"; exec sleep 1000; fi; echo '"'$good'"
rm -f "$work"/out/*
"$script" --build "$work/built" --only "dualpipe mlp, 2 ranks" >"$work/table" 2>&1 &
cut=$!
until [[ -s $work/process ]]; do sleep 0.1; done
kill "$cut"
wait "$cut"
status=$?
output=$(<"$work/table")
[[ $status == 143 ]] || fail "cut short: expected exit code 143, got $status"
grep -q '"name":"cuda-inproc dualpipe mlp","ranks":2,"result":"passed"' "$work/out/gpu-check.json" || fail "a row was lost"
grep -qE '^cuda-inproc dualpipe mlp .*passed' <<<"$output" || fail "no table"
for _ in {1..50}; do
  kill -0 "$(<"$work/process")" 2>/dev/null || break
  sleep 0.1
done
! kill -0 "$(<"$work/process")" 2>/dev/null || fail "a run goes on"

# Without a GPU.
printf '#!/usr/bin/env bash\necho "NVIDIA-SMI has failed"\nexit 9\n' >"$work/path/nvidia-smi"
chmod +x "$work/path/nvidia-smi"
unset GPU_CHECK_GPUS
output=$("$script" 2>&1)
status=$?
[[ $status == 2 && $output == "gpu-check: no GPU: NVIDIA-SMI has failed" ]] || fail "without a GPU: exit code $status"
