"""Land-cover segmentation of aerial images at 0.2 m on FLAIR-1 (data_pipelines/datasets/flair1/README.md).

  lcjax train --config=flair1:model=unet --workdir=runs/flair --config.data_dir=DIR

Arguments:
  model     as in dfc2020
  size      as in dfc2020
  fusion    aerial (all bands in one encoder), or as_sentinel, as the report did: R, G and B through a learned 1x1
            convolution to the thirteen bands of a Sentinel-2 encoder, near infrared and height to a Sentinel-1 encoder
  init      random, or the workdir of a pre-training run (the config pretrain), whose encoders are taken; for aerial
            that of Sentinel-2, by matching bands
  freeze    empty, or encoder: the encoders keep what init gave them
  split     official (by domain; our default), or a partition of data_pipelines/datasets/flair1/partitions.py:
            baseline_lists, report_by_zone, or report_60_20_20 and report_64_16_20, whose random parts leak
  legend    flair1_12 (the rare classes ignored, as published scores are; our default), flair1_13 (merged into "other"
            and scored), flair1_15 (those of IGN's FLAIR-INC networks) or flair1 (all nineteen)
  protocol  empty, or official_12, official_13 or official_15 (`lcjax info protocols`): the official split with each of
            the class sets that scores are published for; a run whose records are not as many is refused
  bands     all, rgb, rgbn, or names with + between them, e.g. NIR+R+G
  metadata  true also tells the network where, at what altitude, when and with which camera a patch was taken
            (lcjax/models/metadata.py)
  recipe    ours, or report or code: one of the report's cells as it was printed, or as it was run
            (configs/report2024/recipes.py)
  tiny      true shrinks the network, the crop and the run

Crops of 224 px at native resolution, scored on whole tiles of 512 px; bands scaled by the published means and
deviations. Expected (published, with the baseline's own training; this config has not been run on the full data set):
mIoU 0.544 for a ResNet34-UNet on all five bands, official test split, twelve classes, and 0.557 for the same with
metadata and augmentation (Garioud et al. 2022). Here crops are flipped and turned with metadata and without.

With recipe=report or code, as the 2024 report prints it (Table 4; two domains, random patches, 224 px, thirteen
classes): mIoU 0.42 UNet, 0.42 Swin-UNet, 0.44 and 0.42 pre-trained frozen and fine-tuned; 0.69 its ResNet-UNet, which
is over twelve classes and at 512 px. What is wrong with these figures: docs/report.md.
"""

import ml_collections

from data_pipelines.schema.errors import InputError
from lcjax.configs import arguments, base
from lcjax.configs.report2024 import cells, recipes

ARGUMENTS = {
    "model": "unet",
    "size": "",
    "fusion": "aerial",
    "init": "random",
    "freeze": "",
    "split": "",
    "legend": "",
    "protocol": "",
    "bands": "all",
    "metadata": False,
    "recipe": "ours",
    "tiny": False,
}
_NETWORK = ("model", "size", "init", "freeze", "recipe", "tiny")
_ROLES = ("train", "validation", "test")


def get_config(argument: str | None = None) -> ml_collections.ConfigDict:
    """The config for the arguments above."""
    args = arguments.parse(argument, ARGUMENTS)
    config = base.make(**{name: args[name] for name in _NETWORK})
    config.dataset = "flair1"
    for name in ("fusion", "bands", "metadata"):
        config[name] = args[name]
    config.batch_size = 4 if args["tiny"] else 32
    config.evaluation_batch_size = 2 if args["tiny"] else 8
    config.cell = cells.named("flair1", args["model"], args["size"], args["fusion"], args["init"], args["freeze"])
    values = {"split": "official", "legend": "flair1_12"} | recipes.fields(args["recipe"], config.cell)
    values |= {name: args[name] for name in ("split", "legend") if args[name]}
    split = values.pop("split")
    for role in _ROLES:
        config.split[role] = role if split == "official" else f"{split}/{role}"
    recipes.set_fields(config, values, args["tiny"])
    if args["protocol"] and (args["split"] or args["legend"]):
        raise InputError(f"protocol={args['protocol']}: sets split and legend; leave these two out")
    base.follow(config, args["protocol"])
    return config
