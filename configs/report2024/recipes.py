"""How a cell of the report's tables is trained, by name of the recipe: fields of the config that replace ours.

ours    what we recommend, and what stands in the config files: crops at native resolution, scores of whole tiles
report  as printed. FLAIR-1: Table 5, with the epochs of Tables 3 and 4 and the printed 60/20/20 split. For Sentinel
        the report prints no settings; there it is what the released code of Scheibenreif et al. 2022 takes by default
code    what the reference really ran, where it differs: the notebooks of the report (FLAIR-1, and DFC2020 with both
        sensors), the scripts of Scheibenreif et al. for DFC2020 with Sentinel-2 alone

Frozen was never frozen in the reference: its flag did not reach the network. So freeze=encoder trains everything with
recipe=code, and freezes with the others. What the reference could not do is not rebuilt: its "best" weights were those
of the last epoch, and Sentinel was scored on one random crop of each tile, drawn anew for image and label. Neither are
the tenth of the rate from epoch 100 on and the balanced list of 2,618 training records that its Sentinel scripts know,
nor the floors that its pre-training declares for the rate (5e-7 at the start of the warm-up, 5e-6 at the end). Batch
norm, networks and augmentation are ours; with recipe=code initial values of UNet and Swin, the decay of all parameters
and the corners of its UNet are the reference's. The notebooks' ResNet-34 began with ImageNet weights: it does so here
where init names a file of them. What else differs: docs/report.md.
"""

import ml_collections

from data_pipelines.schema.errors import InputError
from lcjax.configs import base

NAMES = ("ours", "report", "code")

_PLAIN = {
    "dihedral": False,
    "precision": "f32",
    "patience": 0,
    "optimizer.layer_decay": 1.0,
    "optimizer.schedule": "constant",
    "optimizer.warmup": "0 steps",
    "optimizer.clip": 0.0,
    "evaluate_every": "1 epochs",
    "save_every": "1 epochs",
}
_ADAM = {"optimizer.name": "adam"}
_SGD = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.02, "optimizer.momentum": 0.0}

# Sentinel: the whole of "validation" is trained on, and "test" chooses the checkpoint, too.
_SENTINEL = (
    _PLAIN
    | _ADAM
    | {
        "scaling": "by_maximum",
        "split.train": "validation",
        "split.validation": "test",
        "optimizer.weight_decay": 1e-3,
        "optimizer.learning_rate": 1e-5,
    }
)
_ARTICLE = _SENTINEL | {"batch_size": 32, "total": "201 epochs"}
_ARTICLE_TUNED = _ARTICLE | {"optimizer.learning_rate": 3e-6}
_NOTEBOOK = _SENTINEL | {"batch_size": 8, "total": "30 epochs"}

# FLAIR-1: the whole patch made smaller; all thirteen classes are trained on.
_SMALLER = {"scaling": "range", "resize": 224, "crop": 0, "legend": "flair1_13"}
_TABLE_5 = _PLAIN | _ADAM | _SMALLER | {"batch_size": 32, "split": "report_60_20_20", "optimizer.weight_decay": 0.0}
_AERIAL = _PLAIN | _ADAM | _SMALLER | {"split": "report_64_16_20", "optimizer.learning_rate": 1e-3}
_RESNET = (
    _AERIAL
    | _SGD
    | {
        "resize": 0,
        "legend": "flair1_12",
        "batch_size": 5,
        "total": "100 epochs",
        "optimizer.weight_decay": 0.0,
        "optimizer.schedule": "plateau",
    }
)
_STREAMS = _AERIAL | {"batch_size": 16, "total": "60 epochs", "patience": 5, "optimizer.weight_decay": 1e-3}

# Pre-training on SEN12MS, as its config declares it, and as it ran: no heads, and the rate of the first warm-up step.
_DECLARED = {
    "dihedral": False,
    "precision": "f32",
    "scaling": "by_maximum",
    "batch_size": 50,
    "total": "300 epochs",
    "optimizer.learning_rate": 5e-4,
    "optimizer.warmup": "20 epochs",
    "optimizer.clip": 0.0,
}
_RELEASED = _DECLARED | {
    "projection": 0,
    "optimizer.learning_rate": 5e-7,
    "optimizer.schedule": "constant",
    "optimizer.warmup": "0 steps",
}
_RELEASED_RESNET = (
    _DECLARED
    | _ADAM
    | {
        "crop": 128,
        "temperature": 0.07,
        "batch_size": 200,
        "total": "201 epochs",
        "optimizer.learning_rate": 3e-5,
        "optimizer.weight_decay": 1e-4,
        "optimizer.warmup": "0 steps",
    }
)

_TRAINED_IN_FULL = {"freeze": ""}
# What the reference's networks begin with, and what its optimisers decay: all that they are given.
_DECAY_ALL = {"optimizer.decay_all": True}
_TWO_STREAMS = _DECAY_ALL | {"initializer": "pytorch"}
_UNET = _TWO_STREAMS | {"model.upsampling": "align_corners"}
_SWIN_UNET = _DECAY_ALL | {"initializer": "swin_unet"}
_FIELDS: dict[str, dict[str, dict]] = {
    "report": {
        "pretrain/two_stream_swin": _DECLARED,
        "sentinel/swin_unet": _ARTICLE,
        "sentinel/ssl_frozen": _ARTICLE,
        "sentinel/ssl_finetuned": _ARTICLE_TUNED,
        "flair/unet": _TABLE_5 | {"total": "5 epochs", "optimizer.learning_rate": 1e-3},
        "flair/resnet_unet": _TABLE_5 | _SGD | {"total": "60 epochs"},
        "flair/swin_unet": _TABLE_5 | {"total": "45 epochs", "optimizer.learning_rate": 1e-3},
        "flair/ssl_frozen": _TABLE_5 | {"total": "45 epochs", "optimizer.learning_rate": 1e-5},
        "flair/ssl_finetuned": _TABLE_5 | {"total": "60 epochs", "optimizer.learning_rate": 1e-5},
        "s2/unet": _ARTICLE,
        "s2/swin_unet": _ARTICLE,
        "s2/ssl_frozen": _ARTICLE,
        "s2/ssl_finetuned": _ARTICLE_TUNED,
    },
    "code": {
        "pretrain/two_stream_swin": _RELEASED | _TWO_STREAMS,
        "pretrain/resnet50_unet": _RELEASED_RESNET | _DECAY_ALL,
        "sentinel/swin_unet": _NOTEBOOK | _SWIN_UNET | {"batch_size": 4},
        "sentinel/ssl_frozen": _NOTEBOOK | _TWO_STREAMS | _TRAINED_IN_FULL,
        "sentinel/ssl_finetuned": _NOTEBOOK | _TWO_STREAMS,
        "flair/unet": _AERIAL
        | _UNET
        | {"batch_size": 32, "total": "20 epochs", "patience": 5, "optimizer.weight_decay": 0.0},
        "flair/resnet_unet": _RESNET,
        "flair/swin_unet": _AERIAL
        | _SWIN_UNET
        | {"batch_size": 4, "total": "45 epochs", "patience": 6, "optimizer.weight_decay": 1e-3},
        "flair/ssl_frozen": _STREAMS | _TWO_STREAMS | {"optimizer.learning_rate": 1e-5} | _TRAINED_IN_FULL,
        "flair/ssl_finetuned": _STREAMS | _TWO_STREAMS | {"optimizer.learning_rate": 3e-6},
        "s2/unet": _ARTICLE | _UNET | {"optimizer.learning_rate": 3e-6},
        "s2/swin_unet": _ARTICLE | _SWIN_UNET | {"optimizer.learning_rate": 3e-7},
        "s2/ssl_frozen": _ARTICLE_TUNED | _TWO_STREAMS | _TRAINED_IN_FULL,
        "s2/ssl_finetuned": _ARTICLE_TUNED | _TWO_STREAMS,
    },
}


def fields(recipe: str, cell: str) -> dict:
    """Dotted names of config fields -> what a recipe sets them to in a cell (cells.py); nothing for "ours".

    Of FLAIR-1, "split" is the name of a partition. Raises InputError for an unknown recipe, and for a cell that it does
    not have.
    """
    if recipe not in NAMES:
        raise InputError(f"recipe={recipe}: expected one of {', '.join(NAMES)}")
    if recipe == "ours":
        return {}
    if cell not in _FIELDS[recipe]:
        raise InputError(
            f"recipe={recipe}: the reference has no such run; `python -m lcjax.configs.report2024.cells "
            f"--recipe={recipe}` lists those that it has; leave recipe out"
        )
    return dict(_FIELDS[recipe][cell])


def set_fields(config: ml_collections.ConfigDict, values: dict, tiny: bool) -> None:
    """Sets fields by their dotted names.

    Of a recipe that is not ours what makes a run long, or its images large, stays small with `tiny`.
    """
    base.assign(config, values)
    if tiny and config.recipe != "ours":
        config.crop, config.resize = (0, 64) if config.resize else (64, 0)
        config.batch_size = min(config.batch_size, 8)
        config.evaluation_batch_size = min(config.evaluation_batch_size, 4)
        config.total = "40 steps"
        config.optimizer.warmup = "10 percent" if config.optimizer.schedule == "cosine" else "0 steps"
        config.evaluate_every = config.save_every = "50 percent"
