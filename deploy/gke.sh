#!/usr/bin/env bash
# lcjax on Google Kubernetes Engine, as a JobSet:
#
#   deploy/gke.sh train --config=dfc2020:model=unet --workdir=/mnt/lcjax/runs/unet
#
# APPLY=cat shows the manifest instead.
set -euo pipefail

# ---- yours; each can also come from the environment
export NAME=${NAME:-lcjax}
export IMAGE=${IMAGE:-REGION-docker.pkg.dev/PROJECT/REPOSITORY/lcjax:1} # deploy/Dockerfile
# TPU v5e, 4x4 chips on four machines. Two machines with eight H100 each would be HOSTS=2,
# NODES='cloud.google.com/gke-accelerator: nvidia-h100-80gb' and DEVICES='nvidia.com/gpu: 8'.
export HOSTS=${HOSTS:-4}
export NODES=${NODES:-'cloud.google.com/gke-tpu-accelerator: tpu-v5-lite-podslice, cloud.google.com/gke-tpu-topology: 4x4'}
export DEVICES=${DEVICES:-'google.com/tpu: 4'}
# What all machines share at /mnt/lcjax: a claim that many may write (Filestore), or a bucket with folders that can be
# renamed (hierarchical namespace): VOLUME='csi: {driver: gcsfuse.csi.storage.gke.io, volumeAttributes: {bucketName:
# BUCKET, mountOptions: "metadata-cache:ttl-secs:0,metadata-cache:negative-ttl-secs:0"}}'
export VOLUME=${VOLUME:-'persistentVolumeClaim: {claimName: lcjax}'}
# ---- the rest

# JSON is YAML, so arguments arrive as they are. To Kubernetes $(X) would be a variable; $$ is a dollar.
# shellcheck disable=SC2016
python3 -c '
import json, os, string, sys
manifest, *words = sys.argv[1:]
words = json.dumps([word.replace("$", "$$") for word in words], ensure_ascii=False)
print(string.Template(open(manifest).read()).substitute(os.environ, ARGUMENTS=words))
' "$(dirname "$0")/gke_jobset.yaml" "$@" | ${APPLY:-kubectl apply -f -}
