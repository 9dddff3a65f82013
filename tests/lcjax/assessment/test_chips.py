"""Chips: the ground around a pixel as an image has it, near and far, the pixel framed, in any CRS and pixel size."""

import io

import matplotlib.image
import numpy as np
import pytest
import rasterio
from classified import PLACE

from data_pipelines.geo import geodesy
from data_pipelines.schema.errors import InputError
from lcjax.assessment import chips

UTM = geodesy.CRS.from_epsg(32633)
_, NEAR_END, FAR_START = 0, 480, 488


def write(path, image, transform=PLACE, crs="EPSG:32633", names=(), **profile):
    bands, height, width = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=image.dtype, crs=crs,
        transform=transform, **profile,
    ) as out:  # fmt: skip
        out.write(image)
        for band, name in enumerate(names, 1):
            out.set_band_description(band, name)
    return path


def picture(path, row, column, crs=UTM, transform=PLACE, bands=()):
    with chips.opened([path], bands) as images:
        png = chips.chip(images, crs, transform, row, column)
    return (matplotlib.image.imread(io.BytesIO(png))[..., :3] * 255).round().astype(int)


def coded(height=120, width=90, scale=1):
    """Red tells the row of the map, green the column; blue the size of the image's pixels."""
    rows, columns = np.indices((height * scale, width * scale)) // scale
    return np.stack([rows, columns, np.full_like(rows, 200)]).astype(np.uint8)


def told(drawn, path):
    """Row and column that a pixel of a chip shows, from its colours, by the stretch of the image."""
    with chips.opened([path], ()) as (image,):
        values = (drawn / 255) ** (1 / 0.8) * (image.high - image.low) + image.low
    return values[..., 0], values[..., 1]


@pytest.mark.parametrize("scale", [1, 4])
def test_a_chip_shows_the_pixels_around_and_frames_the_one(tmp_path, scale):
    place = PLACE @ rasterio.Affine.scale(1 / scale)
    path = write(tmp_path / "i.tif", coded(scale=scale), place)
    drawn = picture(path, 60, 40)
    assert drawn.shape == (480, 968, 3)
    near, far = drawn[:, :480], drawn[:, 488:]
    assert (drawn[:, 480:488] == 255).all()
    for side, span in ((near, 15), (far, 75)):
        step = 480 / span
        for down, right in ((0, 0), (-3, 2), (4, -5)):
            at = int(240 + down * step), int(240 + right * step)
            row, column = told(side[at], path)
            assert (row, column) == (pytest.approx(60 + down, abs=1), pytest.approx(40 + right, abs=1))
        inside = side[int(240 - step / 2) + 1 : int(240 + step / 2) - 1, int(240 - step / 2) + 1]
        assert not (inside == (255, 220, 0)).all(1).any()
        assert (side[240, : int(240 - step / 2)] == (255, 220, 0)).all(1).sum() == 2


def test_another_crs_shows_the_same_ground(tmp_path):
    """The image in degrees, twice as fine: what lies at the pixel's centre is the same."""
    path = write(tmp_path / "i.tif", coded())
    (west, east), (south, north) = geodesy.lonlat(UTM, np.array([500_000, 500_900]), np.array([5_398_800, 5_400_000]))
    transform = rasterio.Affine(0.00005, 0, west - 0.001, 0, -0.00005, north + 0.001)
    image = np.zeros((3, int((north - south + 0.002) / 0.00005), int((east - west + 0.002) / 0.00005)), np.uint8)
    with rasterio.open(path) as source:
        rasterio.warp.reproject(rasterio.band(source, [1, 2, 3]), image, dst_crs="EPSG:4326", dst_transform=transform)
    degrees = write(tmp_path / "d.tif", image, transform, "EPSG:4326", nodata=0)
    row, column = told(picture(degrees, 60, 40)[240, 240], degrees)
    assert (row, column) == (pytest.approx(60, abs=1.5), pytest.approx(40, abs=1.5))


def test_beyond_the_image_and_without_data_it_is_grey(tmp_path):
    image = coded()
    image[:, 50:70, 41:60] = 0
    drawn = picture(write(tmp_path / "i.tif", image, nodata=0), 60, 40)
    assert (drawn[240, 400] == (235, 235, 240)).all()
    corner = picture(write(tmp_path / "j.tif", coded()), 0, 0)
    assert (corner[100, 100] == (235, 235, 240)).all() and not (corner[300, 300] == (235, 235, 240)).all()


def test_bands_are_true_colour_by_name_or_those_that_are_asked_for(tmp_path):
    names = ["B1", "B2", "B3", "B4"]
    image = np.random.default_rng(0).integers(1, 200, (4, 60, 60)).astype(np.uint16)
    path = write(tmp_path / "i.tif", image, names=names)
    with chips.opened([path], ()) as (shown,):
        assert shown.bands == (4, 3, 2)
    with chips.opened([path], ["b1"]) as (shown,):
        assert shown.bands == (1, 1, 1)
    for wrong in (["B9"], ["B1", "B2"]):
        with pytest.raises(InputError, match=r"expected one band of .*, or three for red, green and blue, of: b1, b2"):
            picture(path, 3, 3, bands=wrong)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "absent.tif", "no such file"),
        (lambda folder: write(folder / "i.tif", np.zeros((1, 30, 30), np.uint8)), "no pixel with data"),
        (lambda folder: write(folder / "i.tif", np.ones((1, 30, 30), np.uint8), crs=None), "has no place"),
    ],
)
def test_images_that_cannot_be_shown(tmp_path, make, says):
    with pytest.raises(InputError, match=says):
        picture(make(tmp_path), 3, 3)
