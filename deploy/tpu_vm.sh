#!/usr/bin/env bash
# lcjax on all machines of a Cloud TPU slice, which is made if it is not there, and made again when it was preempted:
#
#   deploy/tpu_vm.sh train --config=dfc2020:model=unet --workdir=/mnt/lcjax/runs/unet
#
# Ctrl-C (or SIGTERM) has all machines save and stop. The slice stays, and costs, until
# `gcloud compute tpus tpu-vm delete NAME --zone=ZONE`.
set -euo pipefail

# ---- yours; each can also come from the environment
NAME=${NAME:-lcjax}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}
VERSION=${VERSION:-v2-alpha-tpuv5-lite}
CREATE=${CREATE:---spot}          # further flags of `gcloud compute tpus tpu-vm create`, separated by spaces
SHARE=${SHARE:-10.0.0.2:/lcjax}   # NFS (Filestore) for data and runs; this repository lies in its folder `code`
FOLDER=${FOLDER:-/mnt/lcjax}      # where the machines mount it
# ---- the rest
LCJAX=lcjax-venv/bin/lcjax
WAIT=${WAIT:-60}    # seconds before the next try after a failure
TRIES=${TRIES:-20}  # failures that are none of lcjax's own, e.g. a machine that cannot be reached

tpu() { # verb, flags
    gcloud compute tpus tpu-vm "$1" "$NAME" --zone="$ZONE" "${@:2}"
}

state() {
    tpu describe --format='value(state)' 2>/dev/null || echo MISSING
}

# What each machine does; what was done before is not done again. It has Python 3.10 of its own, too old for lcjax.
run="set -e
mountpoint -q $FOLDER || {
    sudo apt-get -qy update && sudo apt-get -qy install nfs-common
    sudo mkdir -p $FOLDER && sudo mount -t nfs $(printf %q "$SHARE") $FOLDER
}
test -x $LCJAX || {
    sudo apt-get -qy update && sudo apt-get -qy install python3.11-venv
    python3.11 -m venv lcjax-venv
    rm -rf lcjax-code; cp -r $FOLDER/code lcjax-code # pip builds where the code lies, and all machines do so at once
    lcjax-venv/bin/pip install -q --constraint lcjax-code/constraints/python3.11.txt './lcjax-code[tpu]'
}
export JAX_COMPILATION_CACHE_DIR=$FOLDER/compiled
cd $FOLDER/code
exec \"\$HOME\"/$LCJAX$(printf ' %q' "$@")"

stopping=false
# shellcheck disable=SC2329 # called by the trap
stop() {
    stopping=true
    tpu ssh --worker=all --command="pkill -TERM -f '[l]cjax-venv/bin/lcjax'" || true
}
trap stop INT TERM

began=false
failures=0
while ! $stopping; do
    case $(state) in
    READY) ;;
    MISSING)
        # Flags that are wrong fail at the first try. Later a failure means that no slice is free.
        read -ra more <<<"$CREATE"
        if ! tpu create --accelerator-type="$TYPE" --version="$VERSION" "${more[@]}"; then
            if ! $began; then exit 1; fi
            sleep "$WAIT"
        fi
        continue
        ;;
    PREEMPTED | TERMINATED)
        tpu delete --quiet
        continue
        ;;
    *)
        sleep "$WAIT"
        continue
        ;;
    esac
    began=true

    # In the background, so that a signal to this script reaches `stop` at once; in a process group of its own (-m), so
    # that Ctrl-C does not reach it: the output goes on until all have saved.
    set -m
    tpu ssh --worker=all --command="$run" </dev/null &
    ssh=$!
    set +m
    code=0
    wait "$ssh" || code=$?
    if $stopping; then # the signal ended the waiting, not what was waited for
        code=0
        wait "$ssh" || code=$?
        exit "$code"
    fi
    case $code in
    0) exit 0 ;;
    75) continue ;;
    # lcjax's own: somebody has to look. gcloud also ends with 1 where a machine went away meanwhile.
    1 | 2 | 3) if [ "$(state)" = READY ]; then exit "$code"; fi ;;
    esac
    failures=$((failures + 1))
    if [ "$failures" -ge "$TRIES" ]; then exit "$code"; fi
    sleep "$WAIT"
done
exit 130
