"""Interpolation and pooling against PyTorch's, to larger and smaller."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from articles import channels_first, channels_last

from lcjax.models import resample

SIZES = [((13, 13), (15, 15)), ((13, 13), (7, 7)), ((14, 14), (10, 13)), ((14, 14), (37, 9)), ((7, 9), (7, 9))]
IMAGE = np.random.default_rng(0)


def both(size: tuple[int, int]) -> tuple[np.ndarray, torch.Tensor]:
    image = IMAGE.standard_normal((2, *size, 3), np.float32)
    return image, channels_first(torch.tensor(image))


def note_and_check(note, title, ours, theirs):
    difference = float(np.abs(np.asarray(ours) - channels_last(theirs).numpy()).max())
    note(f"{title}: {difference:.1e}")
    assert difference <= 1e-5


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_tables_are_resized_bicubically(old, new, note):
    image, tensor = both(old)
    ours = np.stack([resample.resized_table(table, *new) for table in image])
    theirs = F.interpolate(tensor, size=new, mode="bicubic", align_corners=False)
    note_and_check(note, f"bicubic {old} to {new}", ours, theirs)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_features_are_resized_bilinearly(old, new, note):
    image, tensor = both(old)
    theirs = F.interpolate(tensor, size=new, mode="bilinear", align_corners=False)
    note_and_check(note, f"bilinear {old} to {new}", resample.resize(image, *new), theirs)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (13, 16), (4, 5)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_features_are_averaged_over_bins(size, bins, note):
    image, tensor = both(size)
    theirs = F.adaptive_avg_pool2d(tensor, bins)
    note_and_check(note, f"means of {size} in {bins}", resample.average_pool(image, bins), theirs)
