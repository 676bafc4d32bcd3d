#!/usr/bin/env bash
# What robustrun does on one GPU, in about 9 minutes without a network:
#
#     benchmarks/gpu.sh [--dry] OUT DATA [STEP[=SECONDS] ...]
#
# OUT: a folder for the results, at most 8 small files. DATA: what benchmarks/gpu_data.sh has made.
# STEP: tests, steps, evaluation, batch_sizes, record or profile, each with its own time limit in
# seconds; without any, all of them. A step writes as it goes, and what befalls it stops no other.
# batch_sizes, at the top of record.log, is what other batch sizes would do to the record; that
# trains for its limit less 120 s: record=405 is the whole of `+experiment=record`.
# --dry: every line of it on the CPU, on next to no images.
set -uo pipefail
shopt -s nullglob

dry=
if [ "${1:-}" = --dry ]; then dry=--dry; shift; fi
[ $# -ge 2 ] || { sed -n '2,11s/^# \?//p' "$0"; exit 2; }
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd) data=$(cd "$2" && pwd) root=$(cd "$(dirname "$0")/.." && pwd) || exit 2
shift 2
declare -A limit=([tests]=70 [steps]=100 [evaluation]=110 [batch_sizes]=60 [record]=170
  [profile]=30)
declare -A logs=([batch_sizes]=record)
if [ $# -gt 0 ]; then
  for step in "${!limit[@]}"; do
    wanted=
    for word in "$@"; do
      [ "$word" = "$step" ] && wanted=${limit[$step]}
      [ "${word%%=*}" = "$step" ] && [ "$word" != "$step" ] && wanted=${word#*=}
    done
    limit[$step]=$wanted
  done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root" || exit 2
export PYTHONPATH="$root:$work/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 ROBUSTRUN_CACHE="$work/cache"
export OMP_WAIT_POLICY=passive
device=cuda
[ -z "$dry" ] || device=cpu
workers=()
python3 -c 'import xdist' 2>/dev/null && workers=(-n 4)

packages() { # Those that this machine lacks, and what says robustrun's version
  python3 - "$data"/wheels/*.whl <<'PY' >"$work/lacking"
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

for wheel in map(Path, sys.argv[1:]):
    try:
        version(wheel.name.split("-")[0])
    except PackageNotFoundError:
        print(wheel)
PY
  mkdir -p "$work/site/robustrun-0.dist-info"
  printf 'Metadata-Version: 2.1\nName: robustrun\nVersion: %s\n' \
    "$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" >"$work/site/robustrun-0.dist-info/METADATA"
  [ -s "$work/lacking" ] || return 0
  xargs python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" \
    <"$work/lacking"
}

unpack() { # The images; every hundredth for --dry
  python3 - "$data/images.zip" "$work/images" ${dry:+100} <<'PY'
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as archive:
    names = sorted(name for name in archive.namelist() if not name.endswith("/"))
    for name in names[:: int(sys.argv[3]) if len(sys.argv) > 3 else 1]:
        archive.extract(name, sys.argv[2])
PY
}

step() { # NAME COMMAND ...: within its limit, at the end of its file
  local name=$1 began=$SECONDS log=$out/${logs[$1]:-$1}.log
  shift
  [ -n "${limit[$name]}" ] || return 0
  timeout --kill-after=5 "${limit[$name]}" "$@" >>"$log" 2>&1
  echo "$name: exit code $? after $((SECONDS - began)) of ${limit[$name]} s" | tee -a "$log"
}

measure() { # NAME: a part of benchmarks/gpu.py
  step "$1" python3 -m benchmarks.gpu "$1" $dry --out "$out/$1.json" --images "$work/images" \
    --peers "$data" --cache "$work/cache"
}

record() { # Other batch sizes first, since the record measures its own
  local words=(+experiment=record "device=$device") sizes=(512 1024 256) examples=1000
  local seconds=$((${limit[record]:-0} - 120))
  if [ -d "$work/images/train" ]; then
    words+=(dataset=image_folder "dataset.root=$work/images")
  else
    words+=(dataset=digits)
  fi
  if [ -n "$dry" ]; then
    sizes=(128 64) examples=2 seconds=5
    words+=(model=small_cnn recipe.epochs=2 training.batch_size=64 device.compile=false
      device.threads=1)
  fi
  step batch_sizes python3 -m benchmarks.batch_sizes "${words[@]}" --sizes "${sizes[@]}" --seconds 10
  step record python3 -m robustrun "${words[@]}" keep.figures=false "hydra.run.dir=$work/record" \
    "evaluation.examples=$examples" "training.seconds=$seconds"
  [ ! -f "$work/record/results.json" ] || cp "$work/record/results.json" "$out/record.json"
}

packages
unpack 2>"$work/unpacking" & # while the tests run, which need no images
step tests python3 -m pytest -o addopts= -v -W default -p no:cacheprovider "${workers[@]}" -m device \
  --device "$device" --durations 10 $(grep -rlE 'mark\.device' tests --include='test_*.py')
wait
[ ! -s "$work/unpacking" ] || tail -n 1 "$work/unpacking"
measure steps
measure evaluation
record
measure profile
