"""Land-cover segmentation of aerial images at 0.2 m on FLAIR-1 (data_pipelines/flair1/README.md).

  lcjax train --config=configs/flair1.py:model=unet --workdir=runs/flair --config.data_dir=DIR

Arguments:
  model     as in configs/dfc2020.py, but for two_stream_swin
  size      as in configs/dfc2020.py
  split     official (by domain; the default), or a partition of data_pipelines/flair1/partitions.py: baseline_lists,
            report_by_zone, or report_60_20_20 and report_64_16_20, whose random parts leak
  legend    flair1_12 (the rare classes ignored, as published scores are; the default), flair1_13 (merged into "other"
            and scored) or flair1 (all nineteen)
  bands     all, rgb, rgbn, or names with + between them, e.g. NIR+R+G
  metadata  true also tells the network where, at what altitude, when and with which camera a patch was taken
            (lcjax/models/metadata.py)
  tiny      true shrinks the network, the crop and the run

Crops of 224 px at native resolution, scored on whole tiles of 512 px; bands scaled by the published means and
deviations. Expected (published, with the baseline's own training; this config has not been run on the full data set):
mIoU 0.544 for a ResNet34-UNet on all five bands, official test split, twelve classes, and 0.557 for the same with
metadata and augmentation (Garioud et al. 2022). Here crops are flipped and turned with metadata and without.
"""

import ml_collections

from configs import arguments, dfc2020

_ROLES = ("train", "validation", "test")


def get_config(argument: str | None = None) -> ml_collections.ConfigDict:
    """The config for the arguments above."""
    args = arguments.parse(
        argument,
        model="unet",
        size="",
        split="official",
        legend="flair1_12",
        bands="all",
        metadata=False,
        tiny=False,
    )
    config = dfc2020.for_one_sensor(args)
    config.dataset = "flair1"
    config.fusion = "aerial"
    config.legend = args["legend"]
    config.bands = args["bands"]
    config.metadata = args["metadata"]
    folder = "" if args["split"] == "official" else f"{args['split']}/"
    config.split = ml_collections.ConfigDict({role: f"{folder}{role}" for role in _ROLES})
    config.batch_size = 4 if args["tiny"] else 32
    config.evaluation_batch_size = 2 if args["tiny"] else 8
    return config
