"""The official split of FLAIR-1 with each of the class sets that scores are published for: README.md."""

import functools

from data_pipelines.schema.spec import Protocol

_official = functools.partial(
    Protocol, train="train", validation="validation", test="test", records=(47_587, 14_125, 15_700)
)

PROTOCOLS = (
    _official(
        name="official_12",
        title="the official domains over twelve classes; the rare ones are neither learned nor scored",
        legend="flair1_12",
        source="Garioud et al. 2022; github.com/IGNF/FLAIR-1",
    ),
    _official(
        name="official_13",
        title="the official domains over thirteen classes; the rare ones are one, `other`, which counts",
        legend="flair1_13",
        source="the classes of the baseline's network and of the 2024 report",
        warning="published means of FLAIR-1 leave `other` out; this one does not",
    ),
    _official(
        name="official_15",
        title="the official domains over the fifteen classes of IGN's FLAIR-INC networks",
        legend="flair1_15",
        source="the cards of huggingface.co/IGNF/FLAIR-INC_rgbie_15cl_resnet34-unet and its like",
        warning="snow does not occur in the test part: the mean is over fourteen; IGN's networks saw more data",
    ),
)
