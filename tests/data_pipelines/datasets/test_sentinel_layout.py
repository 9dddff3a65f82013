"""Whatever the data set of Sentinel-2: its builder hears of the offset of +1000 what numbers and files tell of it."""

import numpy as np
import pytest
import rasterio
from downloads import parts, path_of, write_geotiff, write_patch

from data_pipelines.datasets import registry, sentinel_layout
from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.schema.sensors import S2
from data_pipelines.schema.spec import DatasetSpec, Refused

# Of each data set with Sentinel-2: where its files lie, and the files of a patch.
LAYOUTS = {
    "dfc2020": ("ROIs0000_validation", "0", ("s1", "s2", "dfc")),
    "sen12ms": ("ROIs1158_spring", "3", ("s1", "s2", "lc")),
    "sample": ("ROIs0000_validation", "0", ("s1", "s2", "dfc")),
}
DOUBT = "11 of 12 bands start near or above 1000 (1st percentiles from 1"


def in_doubt(number: int = 1) -> np.ndarray:
    """A product with the offset (13, H, W), but for water in one band, and a B10 that was filled with 0."""
    values = np.random.default_rng(number).integers(1050, 9000, parts(number)["s2"].shape).astype(np.uint16)
    values[10] = 0
    values[12, :2] = 700
    return values


@pytest.fixture(params=LAYOUTS)
def patch(tmp_path, request):
    """Writes the Sentinel-2 of a patch, with its tags, and reads the record."""
    roi, scene, only = LAYOUTS[request.param]

    def read(values, *, tags=None, packed=None, offset=0):
        write_patch(tmp_path, roi, 1, scene, only=only)
        path = path_of(tmp_path, roi, "s2", 1, scene)
        write_geotiff(path, values)
        with rasterio.open(path, "r+") as file:
            file.update_tags(**(tags or {}))
            if packed:
                file.scales, file.offsets = (packed[:1] * 13), (packed[1:] * 13)
        spec = registry.entry(request.param)
        (item,) = next(iter(spec.index([tmp_path]).values()))
        return spec.read(item, offset=offset)

    return read


def test_no_data_set_of_sentinel_2_is_left_out():
    specs = [entry for entry in registry.DATASETS.values() if isinstance(entry, DatasetSpec)]
    assert {spec.name for spec in specs if S2 in spec.sensors} == {*LAYOUTS}
    assert all(spec.options == sentinel_layout.OPTIONS for spec in specs if S2 in spec.sensors)


def test_numbers_in_doubt_are_taken_with_a_word(patch):
    found = patch(in_doubt())
    assert found.doubt.startswith(DOUBT) and found.doubt.endswith("prepare the data set with --offset=-1000")
    np.testing.assert_array_equal(found.parts["s2"].transpose(2, 0, 1), in_doubt())
    assert not patch(parts(1)["s2"]).doubt
    assert not patch(in_doubt(), offset=-1000).doubt  # whoever gives it has decided


@pytest.mark.parametrize("tag", ["BOA_ADD_OFFSET=-1000", "PROCESSING_BASELINE=05.09"])
def test_a_tag_decides_where_numbers_are_in_doubt(patch, tag):
    tags = dict([tag.split("=")])
    with pytest.raises(Refused, match=r"the tag .* says -1000, but --offset=0; prepare it with --offset=-1000"):
        patch(in_doubt(), tags=tags)
    taken_off = np.maximum(in_doubt().astype(int) - 1000, 0)
    np.testing.assert_array_equal(patch(in_doubt(), tags=tags, offset=-1000).parts["s2"].transpose(2, 0, 1), taken_off)
    harmonised = patch(parts(1)["s2"], tags=tags)  # the offset was taken off, the tag was not
    np.testing.assert_array_equal(harmonised.parts["s2"].transpose(2, 0, 1), parts(1)["s2"])
    assert patch(parts(1)["s2"], tags=tags, packed=(1e-4, 0.0)).parts  # nor is a tag beside a scale


def test_a_stated_unit_is_heard(patch):
    assert patch(parts(1)["s2"], packed=(1e-4, 0.0)).parts
    with pytest.raises(Refused, match=r"the file's band offset says -1000, but --offset=0; prepare it with --offset="):
        patch(parts(1)["s2"], packed=(1e-4, -0.1))
    with pytest.raises(Refused, match=r"scale 0.001, offset 0; expected a scale of 1 or 0.0001; rescale it first"):
        patch(parts(1)["s2"], packed=(1e-3, 0.0))


def test_prepare_tells_how_many_are_in_doubt_and_names_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(quicklooks, "draw", lambda _: [])
    for season, doubtful in (("spring", 2), ("summer", 0)):
        for number in (1, 2, 3):
            roi = f"ROIs1158_{season}"
            write_patch(tmp_path / "source", roi, number, "3", only=("s1", "s2", "lc"))
            if number <= doubtful:
                write_geotiff(path_of(tmp_path / "source", roi, "s2", number, "3"), in_doubt(number))
    for _ in range(2):  # and again, where it was prepared
        prepare.prepare("sen12ms", tmp_path / "source", tmp_path / "data")
        said = capsys.readouterr().out
        assert f"spring: 2 of 3 records are in doubt, e.g. ROIs1158_spring_3_p1: {DOUBT}" in said
        assert "summer: " not in said.partition("worth a look:")[2].replace("summer: no pixel", "")
