#!/usr/bin/env bash
# lcjax on the GPUs of a Slurm cluster, one process for each. Activate the environment that has lcjax, then
#
#   sbatch deploy/slurm.sh train --config=dfc2020:model=unet --workdir=/shared/runs/unet
#
# ---- yours: as many tasks as GPUs
#SBATCH --job-name=lcjax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# ---- what lcjax relies on. SIGTERM to all tasks two minutes before the time is up (not to this script, which waits for
# them); a job that goes on appends to the output it has.
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$HOME/.cache/lcjax/compiled}

# jax takes the GPU whose number is that of the task on its machine, so every task must see all of them: no binding.
# The first task that has saved must not end the others: no kill on a bad exit, no limit to the wait.
code=0
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --gpu-bind=none --kill-on-bad-exit=0 --wait=0 \
    "${LCJAX:-lcjax}" "$@" || code=$?

# 75: stopped by SIGTERM, saved, the same command goes on. After every other code somebody has to look.
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
