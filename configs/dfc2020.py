"""Land-cover segmentation of Sentinel-1 and Sentinel-2 on DFC2020, or on the embedded sample.

  lcjax train --config=dfc2020:model=unet,fusion=early --workdir=runs/unet --config.data_dir=DIR

Arguments:
  model   unet, resnet18_unet, resnet34_unet, resnet50_unet, resnet101_unet, efficientnet_lite0_unet, swin_unet,
          two_stream_swin, swin_upernet or vit_pyramid (docs/models.md)
  size    of the model, where it has several: unet bilinear or transposed, Swin t, s or b, ViT b or s; empty takes the
          first
  fusion  s1, s2, early (bands side by side in one encoder), late (an encoder per sensor) or early_plus_late (early, and
          an encoder per sensor beside it); empty chooses late for two_stream_swin and early for the others
  data    dfc2020, or sample: the same layout, made by `python -m data_pipelines.datasets.sample.make`
  init    random, or the workdir of a pre-training run (the config pretrain) whose encoders are taken
  freeze  empty, or encoder: the encoders keep what init gave them
  recipe  ours, or report or code: one of the report's cells as it was printed, or as it was run
          (configs/report2024/recipes.py)
  protocol  empty, or a published protocol (`lcjax info protocols`): reference, gfm_bench, within_validation,
          copernicus_bench or copernicus_bench_8, or weak_labels with data=sen12ms; it sets splits and legend, and a
          run whose records are not as many as the protocol's is refused
  lists   the folder with the three lists of copernicus_bench
  tiny    true shrinks the network, the crop and the run: the same experiment in a minute on two cores

Splits: as Scheibenreif et al. 2022 train on the published "validation" patches and test on "test"; the last fifth of
"validation" is held out to choose the checkpoint, which the reference did not do (it had no third split).

Expected on DFC2020 (published, with the reference's training and its own protocol; we have not run this config on the
full data set): mIoU 0.31 UNet and 0.28 Swin-UNet on S2, 0.32 frozen and 0.35 fine-tuned on S2, 0.24 Swin-UNet on S1,
0.35 frozen and 0.37 fine-tuned on both sensors (Scheibenreif et al. 2022, as quoted by the 2024 report, Tables 1, 2 and
6; the report's own: 0.21, 0.31 and 0.32 in Table 2).
"""

import ml_collections

from lcjax.configs import arguments, base
from lcjax.configs.report2024 import cells, recipes

ARGUMENTS = {
    "model": "unet",
    "size": "",
    "fusion": "",
    "data": "dfc2020",
    "init": "random",
    "freeze": "",
    "recipe": "ours",
    "protocol": "",
    "lists": "",
    "tiny": False,
}


def get_config(argument: str | None = None) -> ml_collections.ConfigDict:
    """The config for the arguments above."""
    args = arguments.parse(argument, ARGUMENTS)
    data, fusion, protocol, lists = (args.pop(name) for name in ("data", "fusion", "protocol", "lists"))
    config = base.make(**args)
    config.dataset = data
    config.split.train, config.split.validation = "validation[:80%]", "validation[80%:]"
    config.fusion = fusion or base.fusion_of(args["model"])
    config.cell = cells.named("dfc2020", args["model"], args["size"], config.fusion, args["init"], args["freeze"])
    recipes.set_fields(config, recipes.fields(args["recipe"], config.cell), args["tiny"])
    base.follow(config, protocol, lists)
    return config
