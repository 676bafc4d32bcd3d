#!/usr/bin/env bash
# down.sh FOLDER: end what up.sh started there, the newest first.
here=$1
for daemon in slurmd slurmctld slurmdbd mariadbd munged; do
  pid=$(cat "$here/run/$daemon.pid" 2> /dev/null) || continue
  kill "$pid" 2> /dev/null
  for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2> /dev/null
done
true
