"""Land-cover classification of whole patches, with one label each or several (docs/classification.md).

  lcjax train --config=classification:data=dfc2020,labels=multi --workdir=runs/patches --config.data_dir=DIR

Arguments:
  model   family whose encoders are taken, without its decoder: two_stream_swin (a Swin-T for each sensor, or one),
          resnet50_unet (a ResNet-50) or any other of dfc2020
  size    as in dfc2020
  data    dfc2020, or sample: the same layout; sen12ms; flair1; rasters/NAME: your own images and masks
  fusion  as in dfc2020: s1, s2, early, late or early_plus_late; of flair1 aerial, of rasters image; empty chooses late
          for two_stream_swin and early for the others
  labels  single: the most frequent class of a patch; multi: all classes that cover a tenth of it
  init    random, or the workdir of a pre-training run (the config pretrain), or weights from elsewhere
          (docs/weights.md)
  freeze  empty, or encoder: only the head learns
  tiny    true shrinks the network, the crop and the run: the same experiment in a minute on two cores

The task, its labels and splits are those of Scheibenreif et al. 2022: trained on the published "validation" patches of
DFC2020 and tested on "test"; here the last fifth of "validation" is held out to choose the checkpoint. What the article
and its code did otherwise, and how to ask for each of its cells: docs/classification.md.
"""

import ml_collections

from data_pipelines.schema.errors import InputError
from lcjax.configs import arguments, base
from lcjax.weights import imagenet

ARGUMENTS = {
    "model": "two_stream_swin",
    "size": "",
    "data": "dfc2020",
    "fusion": "",
    "labels": "single",
    "init": "random",
    "freeze": "",
    "tiny": False,
}

_HELD_OUT = ("validation[:80%]", "validation[80%:]", "test")
_OWN = ("train", "validation", "test")
# Data -> the records of train, validation and test; what its only sensor is called, if it has one.
_DATA = {
    "dfc2020": (_HELD_OUT, ""),
    "sample": (_HELD_OUT, ""),
    "sen12ms": (("official/train", "official/test[:10%]", "official/test[10%:]"), ""),
    "flair1": (_OWN, "aerial"),
    "rasters": (_OWN, "image"),
}


def get_config(argument: str | None = None) -> ml_collections.ConfigDict:
    """The config for the arguments above."""
    args = arguments.parse(argument, ARGUMENTS)
    data, fusion, labels = (args.pop(name) for name in ("data", "fusion", "labels"))
    if data.partition("/")[0] not in _DATA:
        raise InputError(f"data={data}: no labelled patches that are known here; expected one of {', '.join(_DATA)}")
    roles, only = _DATA[data.partition("/")[0]]
    config = base.make(**args, task="classification")
    config.dataset = data
    config.split.train, config.split.validation, config.split.test = roles
    config.fusion = fusion or only or base.fusion_of(args["model"])
    config.labels = labels
    if only == "image" and args["init"] != imagenet.NAME:  # whose scaling is that of the weights
        config.scaling = "whitened"
    if data == "flair1":
        config.legend = "flair1_12"
    return config
