"""Land-cover segmentation of your own imagery: images and masks of any bands and classes (docs/own_data.md).

  lcjax train --config=configs/rasters.py:data=rasters/town --workdir=runs/town --config.data_dir=DIR

Arguments:
  data        rasters, or rasters/NAME: what `lcjax prepare` made
  model       unet or swin_unet
  validation  the split that chooses the checkpoint, or none: then the last one is taken, and nothing stops early
  test        the split that `lcjax evaluate` scores, or none
  tiny        true shrinks the network, the crop and the run, for trials

Bands are scaled by the mean and deviation of the train split.
"""

import ml_collections

from configs import arguments, dfc2020


def get_config(argument: str | None = None) -> ml_collections.ConfigDict:
    """The config for the arguments above."""
    args = arguments.parse(argument, data="rasters", model="unet", validation="validation", test="test", tiny=False)
    config = dfc2020.get_config(f"model={args['model']},fusion=early,tiny={args['tiny']}")
    config.dataset = args["data"]
    config.fusion = "image"
    held_out = {role: "" if args[role] == "none" else args[role] for role in ("validation", "test")}
    config.split = ml_collections.ConfigDict({"train": "train"} | held_out)
    config.batch_size = 8 if args["tiny"] else 16
    return config
