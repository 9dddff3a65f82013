#!/usr/bin/env bash
# What one GPU says, in less than ten minutes: our steps beside PyTorch's by turns, their share of the roofline, and how
# long they wait for data.
#
#   benchmarks/peers/gpu.sh OUT        in an environment that holds lcjax[cuda] and lcjax[parity]
#
# Parts stand by importance, and each has a limit of its own, so that what is short of time is lost last. OUT gets
# peers.md, and for each part a log, figures and a roofline; started again, what has ended is not measured again.
# SLOWER=5 BATCH=2 ROUNDS=1 CALLS=1 STEPS=2 TINY=,tiny=true try it out on a CPU, where the limits are five times as long.
set -uo pipefail
out=$(realpath -m "${1:?gpu.sh OUT: which folder is to hold the figures?}")
cd "$(dirname "$0")/../.." || exit
batch=${BATCH:-64}
export PYTHONPATH=$PWD JAX_COMPILATION_CACHE_DIR=$out/compiled
mkdir -p "$out"
failed=0

part() { # seconds, name, command: with a log, once
    local limit=$(($1 * ${SLOWER:-1})) name=$2 begun=$SECONDS code=0
    shift 2
    if [ ! -e "$out/$name.ended" ]; then
        timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
        if [ "$code" -eq 0 ]; then touch "$out/$name.ended"; else failed=1 && tail -n 5 "$out/$name.log"; fi
        echo "$name: exit $code after $((SECONDS - begun)) s of at most $limit"
    fi
}

compare=(python benchmarks/peers/compare.py --output="$out" --modes=training --precisions=bf16
    --batch="$batch" --rounds="${ROUNDS:-5}" --calls="${CALLS:-20}")
network=dfc2020:data=sample${TINY:-},model
fields=(--config.data_dir="$out/data" --config.precision=bf16 --config.batch_size="$batch")

part 20 machine python -m launch info
part 180 swin_unet_peers "${compare[@]}" --cases=swin_unet --sides=lcjax,torch,torch_compile
part 120 resnet50_unet_peers "${compare[@]}" --cases=resnet50_unet --sides=lcjax,torch_channels_last,torch_compile
part 30 sample python -m data_pipelines.datasets.sample.make "$out/sample"
part 30 prepared python -m launch prepare --dataset=sample --source="$out/sample" --data_dir="$out/data"
for name in swin_unet resnet50_unet; do
    part 100 "$name" python -m launch benchmark --config="$network=$name" "${fields[@]}" --steps="${STEPS:-50}" \
        --json="$out/$name.json" --plot="$out/$name.png"
done
tail -n 25 "$out/machine.log" "$out/peers.md" "$out/swin_unet.log" "$out/resnet50_unet.log"
exit "$failed"
