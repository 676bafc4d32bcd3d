#!/usr/bin/env bash
# down.sh FOLDER: end what up.sh started there, the newest first.
here=$1

ended() {  # what has ended may wait some seconds for its parent, as a zombie
  state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2> /dev/null)
  [ -z "$state" ] || [ "$state" = Z ]
}

for daemon in slurmd slurmctld slurmdbd mariadbd munged; do
  pid=$(cat "$here/run/$daemon.pid" 2> /dev/null) || continue
  kill "$pid" 2> /dev/null
  for _ in $(seq 100); do ended "$pid" && break; sleep 0.1; done
  kill -9 "$pid" 2> /dev/null
done
true
