"""Published ways to learn from and to score DFC2020, which must not be compared with each other: README.md."""

import functools

from data_pipelines.schema.spec import Protocol

_copernicus_bench = functools.partial(
    Protocol,
    train="list:dfc-train-new.csv",
    validation="list:dfc-val-new.csv",
    test="list:dfc-test-new.csv",
    records=(3156, 986, 986),
    source="Copernicus-Bench (Wang et al. 2025, arXiv:2503.11849), DFC2020-S1 and DFC2020-S2",
    lists_from="dfc2020.zip in l2_dfc2020_s1s2 of huggingface.co/datasets/wangyi111/Copernicus-Bench",
)
_NEIGHBOURS = (
    "patches of one scene fall on both sides, so neighbours leak from training into scores, which are too high"
)

PROTOCOLS = (
    Protocol(
        name="reference",
        title="learns from the contest's validation patches, is scored on its test patches",
        train="validation",
        test="test",
        records=(986, 0, 5128),
        source="Scheibenreif et al. 2022; github.com/HSG-AIML/SSLTransformerRS",
        warning="the protocol has no part to choose a checkpoint with: the last one is taken",
    ),
    Protocol(
        name="gfm_bench",
        title="the other way round: learns from test patches, is scored on validation patches",
        train="test[:90%]",
        validation="test[90%:]",
        test="validation",
        records=(4615, 513, 986),
        source="GFM-Bench, huggingface.co/datasets/GFM-Bench/DFC2020, after CROMA (Fuller et al. 2023)",
        warning=(
            "whole patches, the last tenth for validation, where the published one cuts nine overlapping crops of 96 "
            "px of each (41,537, 4,615 and 8,874); take config.crop=96 and config.window=96 to come near"
        ),
    ),
    Protocol(
        name="within_validation",
        title="learns from four fifths of the validation patches, is scored on the last fifth",
        train="validation[:80%]",
        test="validation[80%:]",
        records=(789, 0, 197),
        source="github.com/Chavoshh/sar-optical-fusion-dfc2020 (789 patches at random)",
        warning=f"{_NEIGHBOURS}; the published fifth is a random one, this one is the last in the order of numbers",
    ),
    _copernicus_bench(
        name="copernicus_bench",
        title="the test patches alone, in three lists, over ten classes",
        legend="dfc2020_10",
        warning=(
            "ten classes, as its table counts them; its code scores the eight that occur (copernicus_bench_8), which "
            "is the same mean as long as the other two are not predicted"
        ),
    ),
    _copernicus_bench(
        name="copernicus_bench_8",
        title="the same over the eight classes that occur, as the benchmark's code scores them",
    ),
)
