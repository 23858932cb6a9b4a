#!/bin/bash
# What runs in the container, under tini. Around a task the task caches are swept: once before it starts, at the
# times of SWEEP_SCHEDULE while it runs, and once more if it had to leave something. The exit code is the command's.
#
#   serve                 the service; it sweeps itself before it starts, for it knows which caches are awaited
#   swap, demo            a task
#   sweeper [ARGUMENTS]   one sweep, or `sweeper schedule`
#   a program             any of the image, such as bash
#   anything else         facefusion-runner's other commands and options
#
# tini passes a signal on to this script alone (no -g), and this script to the command: each process gets it once.
# Descriptors: 3 is the container's standard input, 4 keeps the FIFO of cron's jobs open.
set -u

readonly RUNNER=10001 LOG=/run/facefusion-sweeper.log CANCELLED=4

as_runner=() # what starts a program as the runner
command_pid='' schedule_pid='' log_pid='' stopping=''

main() {
  exec 3<&0
  trap pass_on TERM INT HUP
  if as_root; then
    export HOME=/home/runner
    as_runner=(setpriv --reuid="$RUNNER" --regid="$RUNNER" --init-groups --no-new-privs --)
  fi
  case ${1-} in
    swap | demo)
      if asks_for_help "$@"; then run_only facefusion-runner "$@"; fi
      run_task facefusion-runner "$@"
      ;;
    serve)
      if asks_for_help "$@"; then run_only facefusion-runner "$@"; fi
      run_service facefusion-runner "$@"
      ;;
    sweeper)
      case ${2-} in crontab | -h | --help) ;; *) check && give_to_runner ;; esac
      run_only python -m "$@"
      ;;
    *)
      if type -P -- "${1-}" >/dev/null; then run_only "$@"; fi
      run_only facefusion-runner "$@"
      ;;
  esac
}

run_only() {
  exec "${as_runner[@]}" "$@" 3<&-
}

run_task() {
  local code
  check
  give_to_runner
  attend python -m sweeper --start-up --json >&2
  code=$?
  # 1: something could not be deleted. That is in the log and in the metrics, and no reason to refuse work.
  if [ -n "$stopping" ]; then exit "$CANCELLED"; fi
  if [ "$code" -gt 1 ]; then exit "$code"; fi
  start_schedule
  attend "$@"
  code=$?
  # It was told to end before it could hear it.
  if [ -n "$stopping" ] && [ "$code" = 143 ]; then code=$CANCELLED; fi
  stop_schedule
  last_sweep "$code"
  exit "$code"
}

run_service() {
  local code
  check
  give_to_runner
  start_schedule
  attend "$@"
  code=$?
  stop_schedule
  # Caches of tasks that were cut short stay: the next start goes on from them.
  if [ "$code" -le 128 ]; then last_sweep "$code"; fi
  exit "$code"
}

as_root() {
  [ "$(id -u)" = 0 ]
}

asks_for_help() {
  local argument
  for argument; do
    case $argument in -h | --help) return 0 ;; esac
  done
  return 1
}

# The first error ends the container, before anything is deleted.
check() {
  python -m sweeper crontab >/dev/null || exit
  python -m sweeper check >/dev/null || exit
}

# Volumes and tmpfs mounts may belong to root. Only what is known to be a cache root is given away, and of its
# content only the sweeper's own; the folders of sweeper and service only while they are empty.
give_to_runner() {
  local path
  as_root || return 0
  for path in "$CACHE_ROOT" "$CACHE_ROOT/.ff-cache-root" "$CACHE_ROOT/.trash"; do
    if [ -O "$path" ]; then chown -h "$RUNNER:$RUNNER" "$path"; fi
  done
  for path in "${SWEEP_STATE_ROOT-}" "${DATA_ROOT-}"; do
    if [ -O "$path" ] && [ -z "$(ls -A "$path")" ]; then chown -h "$RUNNER:$RUNNER" "$path"; fi
  done
}

# Runs a program as the runner, passes signals on to it and returns its exit code. In the background bash hears
# signals while it waits; there a program would have no standard input and SIGINT ignored, but for this.
attend() {
  local code
  env --default-signal=INT,QUIT "${as_runner[@]}" "$@" <&3 3<&- 4>&- &
  command_pid=$!
  # A signal may have come when there was nobody yet to pass it on to.
  if [ -n "$stopping" ]; then pass_on; fi
  while :; do
    wait "$command_pid"
    code=$?
    # A signal ends the wait, not the program.
    kill -0 "$command_pid" 2>/dev/null || break
  done
  command_pid=''
  return "$code"
}

pass_on() {
  local ours name
  stopping=1
  [ -n "$command_pid" ] || return 0
  # Until it has become another program it is a copy of this one, which would swallow the signal.
  read -r ours </proc/$$/comm
  while read -r name <"/proc/$command_pid/comm" && [ "$name" = "$ours" ]; do sleep 0.01; done
  kill -TERM "$command_pid"
} 2>/dev/null

# Cron needs root and a few places to write to. Without them the sweeper itself keeps the times.
start_schedule() {
  if as_root && [ -w /etc/crontab ] && [ -w /run ]; then
    open_log
    python -m sweeper crontab --user runner --log "$LOG" --output /etc/crontab || exit
    keep_running cron -f
  else
    keep_running "${as_runner[@]}" python -m sweeper schedule
  fi
}

# A job of cron's has neither the container's output, nor may it open that of PID 1: it belongs to another user.
open_log() {
  rm -f "$LOG"
  mkfifo -m 0620 "$LOG"
  chown "root:$RUNNER" "$LOG"
  cat "$LOG" >&2 3<&- &
  log_pid=$!
  exec 4>"$LOG"
}

# A container that goes on without its sweeper would fill the disk in silence. A session of its own: Ctrl-C at the
# container's terminal is for the command.
keep_running() {
  while :; do
    setsid "$@"
    echo "entrypoint: the sweeper's schedule ended with exit code $?; starting it again" >&2
    sleep 5
  done >&2 </dev/null 3<&- 4>&- &
  schedule_pid=$!
  disown "$schedule_pid"
}

# Cron would leave a job running, and the kernel would kill it with the container.
stop_schedule() {
  local pids pid tenths=0
  pids=$(descendants "$schedule_pid")
  kill -KILL "$schedule_pid"
  for pid in $pids; do kill -TERM "$pid" 2>/dev/null; done
  for pid in $pids; do
    while kill -0 "$pid" 2>/dev/null && [ "$tenths" -lt 20 ]; do
      sleep 0.1
      tenths=$((tenths + 1))
    done
    kill -KILL "$pid" 2>/dev/null
  done
  exec 4>&-
  if [ -n "$log_pid" ]; then wait "$log_pid"; fi
}

descendants() {
  local child children=()
  read -ra children <"/proc/$1/task/$1/children"
  for child in "${children[@]}"; do
    echo "$child"
    descendants "$child"
  done
}

# Deletes what the task had no time to delete. A task that was killed could not clear up at all: its cache goes at
# once, unless caches are to be kept for a look at them.
last_sweep() {
  local options=(--json)
  if [ "$1" -gt 128 ]; then
    if [ "${CACHE_KEEP:-never}" = never ]; then options+=(--start-up); fi
  elif [ -z "$(ls -A "$CACHE_ROOT/.trash" 2>/dev/null)" ]; then
    return 0
  fi
  SWEEP_TIME_BUDGET_SECONDS=1 "${as_runner[@]}" python -m sweeper "${options[@]}" >&2 </dev/null
}

main "$@"
