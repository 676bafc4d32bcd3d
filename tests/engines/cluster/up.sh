#!/usr/bin/env bash
# A Slurm of one node with accounting, for tests: loopback only, no systemd, no cgroups, as root.
#   up.sh FOLDER     everything it keeps lies there; its clients need SLURM_CONF=FOLDER/slurm.conf
# Two partitions: main, and urgent, whose jobs preempt those of main (requeue, 5 s of grace).
set -euo pipefail
here=$1
export PATH=/usr/sbin:/sbin:$PATH
host=$(hostname -s)
mkdir -p "$here"/{state,spool,log,run,munge}

wait_for() {  # until a command succeeds, for a minute
  for _ in $(seq 600); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done
  echo "not within a minute: $*" >&2
  exit 1
}

# munge signs what the daemons tell each other.
dd if=/dev/urandom of="$here/munge/key" bs=1024 count=1 status=none
chmod 400 "$here/munge/key"
chmod 755 "$here" "$here/munge"
munged --force --key-file="$here/munge/key" --socket="$here/run/munge.socket" --num-threads=2 \
  --pid-file="$here/run/munged.pid" --log-file="$here/log/munged.log" --seed-file="$here/munge/seed"

# sacct, which submitit asks, needs slurmdbd, and that needs a database.
mariadb-install-db --no-defaults --datadir="$here/db" --auth-root-authentication-method=normal \
  --skip-test-db --user=root > "$here/log/db.log" 2>&1
setsid mariadbd --no-defaults --user=root --datadir="$here/db" --socket="$here/run/db.socket" \
  --pid-file="$here/run/mariadbd.pid" --skip-networking --innodb-buffer-pool-size=64M \
  --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 > "$here/log/mariadbd.log" 2>&1 < /dev/null &
wait_for mariadb-admin --no-defaults --socket="$here/run/db.socket" ping
mariadb --no-defaults --socket="$here/run/db.socket" -e "
  create database slurm_acct_db;
  create user slurm@localhost identified by 'slurm';
  grant all on slurm_acct_db.* to slurm@localhost;"

cat > "$here/slurmdbd.conf" << CONF
AuthType=auth/munge
AuthInfo=socket=$here/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=26819
SlurmUser=root
LogFile=$here/log/slurmdbd.log
PidFile=$here/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
chmod 600 "$here/slurmdbd.conf"
cat > "$here/slurm.conf" << CONF
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$here/run/munge.socket,cred_expire=5
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/run/slurmctld.pid
SlurmdPidFile=$here/run/slurmd.pid
SlurmctldLogFile=$here/log/slurmctld.log
SlurmdLogFile=$here/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,requeue_delay=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=26819
AccountingStoragePass=$here/run/munge.socket
MpiDefault=none
ReturnToService=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=6000 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=5
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=off
CONF
export SLURM_CONF=$here/slurm.conf
MYSQL_UNIX_PORT="$here/run/db.socket" slurmdbd  # a host called localhost is this socket
wait_for grep -q "slurmdbd version .* started" "$here/log/slurmdbd.log"
sacctmgr -i add cluster tests > "$here/log/cluster.log" 2>&1
slurmctld
slurmd -N "$host" -f "$here/slurm.conf"
is_idle() { [ "$(sinfo -h -o %T -p main)" = idle ]; }
wait_for is_idle
