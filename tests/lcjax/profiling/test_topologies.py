"""Which chip a device is, and how a TPU slice that is not there is named."""

import importlib.util

import pytest

from data_pipelines.schema.errors import InputError
from lcjax.parallel import mesh as meshes
from lcjax.profiling import topologies

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the TPU compiler is not installed: pip install 'lcjax[tpu]'"
)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("TPU v4", "v4"),
        ("TPU v5 lite", "v5e"),
        ("TPU v5e", "v5e"),
        ("TPU v5", "v5p"),  # so JAX names it on some releases
        ("TPU v5p", "v5p"),
        ("TPU v6 lite", "v6e"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H200 NVL", "H100 NVL"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
    ],
)
def test_a_device_is_known_by_its_kind(kind, name):
    assert topologies.chip(kind) is topologies.CHIPS[name]


@pytest.mark.parametrize("kind", ["cpu", "TPU v2", "NVIDIA L4"])
def test_others_are_not_guessed(kind):
    assert topologies.chip(kind) is None


def test_figures_are_of_the_magnitude_of_a_data_sheet():
    """A slip of a power of ten, or of bits and bytes, would be seen."""
    for name, chip in topologies.CHIPS.items():
        assert 1e14 < chip.flops < 1e15, name
        if chip.memory:
            # FLOPs for each byte of memory, and bytes of memory for each byte of a link.
            assert 150 < chip.flops / chip.bandwidth < 600, name
            assert 3 < chip.bandwidth / chip.links < 5, name
            assert 14e9 < chip.memory < 110e9, name


@pytest.mark.parametrize(
    ("name", "links"),
    [
        ("v5e:1x1", 0),
        ("v5e:1x2", 50e9),
        ("v5e:2x2", 100e9),
        ("v5e:16x16", 200e9),
        ("2*v5e:4x4", 200e9),
        ("v4:2x2x1", 100e9),
        ("v5p:2x4x4", 500e9),
        ("v5p:4x4x4", 600e9),
    ],
)
def test_links_lead_to_neighbours(name, links):
    assert topologies.chip_of(name).links == pytest.approx(links)


@pytest.mark.parametrize("name", ["v5e", "v5e-256", "v5e:256", "v7:2x2", "2x2", "H100:2x2", "v5e:2X2", ""])
def test_an_unknown_name_is_refused_in_a_line_that_tells_what_is_known(name):
    with pytest.raises(InputError) as raised:
        topologies.devices(name)
    says = str(raised.value)
    assert f"--topology={name}: unknown" in says and "v5e:2x2, v5e:16x16, v6e:16x16, v5p:4x4x4" in says
    assert "\n" not in says


@pytest.mark.parametrize("name", ["v5e:2x2x2", "v5e:32x32", "v5p:2x2", "v6e:2x2x1", "v4:32x32x32"])
def test_a_grid_too_large_or_of_other_edges_is_refused(name):
    with pytest.raises(InputError, match=f"={name}: a slice of {name[:2]}.* is a grid of [23] edges and at most"):
        topologies.devices(name)


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lcjax\[tpu\]'"):
        topologies.devices("v5e:2x2")


@needs_compiler
@pytest.mark.parametrize(
    ("name", "count"),
    [("v5e:1x1", 1), ("v5e:2x2", 4), ("v5e:16x16", 256), ("v6e:16x16", 256), ("v5p:4x4x4", 64), ("v4:2x2x1", 4)],
)
def test_a_slice_has_its_chips(name, count):
    devices = topologies.devices(name)
    assert len(devices) == len(set(devices)) == count
    assert topologies.chip(devices[0].device_kind) is topologies.CHIPS[name.split(":")[0]]


@needs_compiler
def test_chips_that_are_no_part_of_a_slice_are_refused():
    with pytest.raises(InputError, match="data=3 x fsdp=1 takes 3 chips, which are no rectangle of the slice"):
        meshes.make_mesh(3, 1, 3, devices=topologies.devices("v5e:2x2"))


@needs_compiler
@pytest.mark.parametrize("name", ["v5e:3x3", "v5p:3x3x3"])
def test_a_grid_that_no_slice_has_is_refused(name):
    with pytest.raises(InputError) as raised:
        topologies.devices(name)
    assert f"--topology={name}" in str(raised.value) and "\n" not in str(raised.value)
