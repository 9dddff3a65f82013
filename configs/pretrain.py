"""Pre-training without labels: two views of one place, such as of Sentinel-1 and Sentinel-2, become alike.

  lcjax train --config=pretrain:data=sample,tiny=true --workdir=runs/pretrain --config.data_dir=DIR

Arguments:
  model       family of the encoders: two_stream_swin (one Swin-T per sensor), or any other of dfc2020
  size        as in dfc2020
  data        sen12ms (180,662 pairs of four seasons), dfc2020 (6,114 pairs), sample, or rasters/NAME: images of your
              own (docs/own_data.md)
  objective   nt_xent (contrastive: other places are pushed away), vicreg (no place is compared with another one), or
              masked: hidden parts of one image are imagined
  views       what the two views are: sensors, each with an encoder; dates of one sensor, with one encoder for both; or
              augmentations of one image, with one encoder
  sensors     which of the data they are of: A+B, where there are more; dates count as sensors; of one image one, A
              (default: s2; of rasters the only one, or all side by side)
  train       the split that is trained on; where it is not given, of rasters nine tenths of the split unlabelled
  validation  the one that watches, of rasters the last tenth
  recipe      ours, or report or code: as the reference declares pre-training, or as it ran it
              (configs/report2024/recipes.py)
  tiny        true shrinks the networks, the crop and the run

After Scheibenreif et al. 2022: NT-Xent with temperature 0.2 between image embeddings of the two sensors, random crop
224 of 256, AdamW, cosine schedule. Here with two-layer projection heads, as in the article's figure, and with the
learning rate really applied (the released code stayed at its warm-up rate).

No score is published for pre-training itself; what it was worth on the sample: docs/pretraining.md.

With data=sen12ms the pairs outside the official hold-out scenes are trained on, and the first tenth of the hold-out
watches. With data=dfc2020 the pairs of both published parts are seen, without their labels: pre-training is
transductive there.
"""

import ml_collections

from data_pipelines.schema.errors import InputError
from lcjax.configs import arguments, base
from lcjax.configs.report2024 import recipes

ARGUMENTS = {
    "model": "two_stream_swin",
    "size": "",
    "data": "sen12ms",
    "objective": "nt_xent",
    "views": "sensors",
    "sensors": "",
    "train": "",
    "validation": "",
    "recipe": "ours",
    "tiny": False,
}

_TASKS = {"nt_xent": "contrastive", "vicreg": "vicreg", "masked": "masked"}
# How several sensors are joined, by views; late as in the run that takes the encoders over.
_MODES = {"sensors": "late", "dates": "dates", "augmentations": "early"}
# What makes two views of one image differ: a crop of a quarter to all of the square, and radiometry.
_AUGMENTED = {
    "augmentation.scale": (1.0, 2.0),
    "augmentation.contrast": 0.3,
    "augmentation.brightness": 0.1,
    "jitter": 0.1,
}

# What is trained on, and what is watched.
_SPLITS = {
    "sen12ms": ("official/train", "official/test[:10%]"),
    "dfc2020": ("validation[:90%]+test[:90%]", "validation[90%:]+test[90%:]"),
    "sample": ("unlabelled[:90%]", "unlabelled[90%:]"),
    "rasters": ("unlabelled[:90%]", "unlabelled[90%:]"),
}


def get_config(argument: str | None = None) -> ml_collections.ConfigDict:
    """The config for the arguments above."""
    args = arguments.parse(argument, ARGUMENTS)
    data, objective, views, sensors = (args.pop(name) for name in ("data", "objective", "views", "sensors"))
    splits = {role: args.pop(role) for role in ("train", "validation")}
    tiny = args["tiny"]
    for name, value, known in (("objective", objective, _TASKS), ("views", views, _MODES)):
        if value not in known:
            raise InputError(f"{name}={value}: expected one of {', '.join(known)}")
    if args["recipe"] != "ours" and (objective, views) != ("nt_xent", "sensors"):
        raise InputError(
            f"objective={objective},views={views},recipe={args['recipe']}: the reference has no such run; leave the "
            "recipe out"
        )
    family = data.partition("/")[0]
    if family not in _SPLITS:
        raise InputError(f"data={data}: no images to train on; expected one of {', '.join(_SPLITS)}, or rasters/NAME")
    config = base.make(**args, task=_TASKS[objective])
    config.dataset = data
    if "views" in config:
        config.views = views
    elif views != ARGUMENTS["views"]:
        raise InputError(
            f"objective={objective},views={views}: it is shown one image, and compares no views; leave views out"
        )
    config.fusion = _fusion(_MODES[config.get("views", "augmentations")], sensors, family)
    if views == "augmentations":
        base.assign(config, _AUGMENTED)
    config.split = ml_collections.ConfigDict(
        {role: splits[role] or other for role, other in zip(splits, _SPLITS[family], strict=True)}
    )
    # Crops of 64 px, batches of 32 and 600 steps hardly left the collapsed beginning in our trials.
    config.crop = 32 if tiny else 224
    config.batch_size = 64 if tiny else 256
    config.evaluation_batch_size = 16 if tiny else 128
    config.optimizer.learning_rate = 2e-3 if tiny else 5e-4
    # A long warm-up: at full rate from the start the two views collapsed to one point in our trials.
    config.optimizer.warmup = "20 percent" if tiny else "10 percent"
    config.optimizer.weight_decay = 0.0
    config.total = "1000 steps" if tiny else "200 epochs"
    config.patience = 0
    recipes.set_fields(config, recipes.fields(args["recipe"], f"pretrain/{args['model']}"), tiny)
    return config


def _fusion(mode: str, sensors: str, family: str) -> str:
    """What the network sees of the sensors that were named, and of which data where none were."""
    if "+" in sensors:
        return f"{mode}:{sensors}"
    if sensors or mode != "early":
        return sensors or mode
    return "" if family == "rasters" else "s2"
