#!/bin/bash
# Healthy: the service answers, the last sweep went well, and none is overdue. That is what can go wrong unnoticed
# here: a task that fails ends its container. Costs a request and a read of one small file; a start of Python every
# 30 s would cost more than the sweeps. Only an hourly schedule is known to be overdue after two hours;
# HEALTH_MAX_SWEEP_AGE_SECONDS says it for any other.

# PID 1 is tini, whose arguments are the container's command.
if [[ $(tr '\0' ' ' </proc/1/cmdline) == *'/entrypoint.sh serve '* ]]; then
  host=${HOST:-auto}
  case $host in auto | 0.0.0.0 | ::) host=127.0.0.1 ;; esac
  exec 3<>"/dev/tcp/$host/${PORT:-8000}" || exit 1
  printf 'GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" >&3
  read -r -t 4 _ status _ <&3
  if [ "$status" != 200 ]; then
    echo "the service answers ${status:-nothing}"
    exit 1
  fi
fi

metrics=$SWEEP_STATE_ROOT/sweeper.prom

# No sweep is recorded where sweeping is off, or when the command is no task.
[ -e "$metrics" ] || exit 0

while read -r name value _; do
  case $name in
    facefusion_cache_last_sweep_timestamp_seconds) last=${value%.*} ;;
    facefusion_cache_last_success_timestamp_seconds) success=${value%.*} ;;
  esac
done <"$metrics"

if [ "${success:-0}" -lt "${last:-0}" ]; then
  echo "the last sweep of $CACHE_ROOT failed"
  exit 1
fi

limit=${HEALTH_MAX_SWEEP_AGE_SECONDS:-}
case ${SWEEP_SCHEDULE:-0 * * * *} in
  *' * * * *' | @hourly) limit=${limit:-7500} ;;
esac
age=$(($(date +%s) - ${success:-0}))
if [ -n "$limit" ] && [ "$age" -gt "$limit" ]; then
  echo "the last sweep of $CACHE_ROOT was $age s ago"
  exit 1
fi
