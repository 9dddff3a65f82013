"""The figures that `benchmark` gives of a config."""

import jax
import networks
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.plotting import roofline
from lcjax.profiling import inference, readable
from lcjax.profiling.benchmark import benchmark, scaling


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> dict:
    """By config.remat."""
    found = {}
    for remat in (False, True):
        config = networks.smallest("unet", "early")
        config.data_dir = str(tmp_path_factory.mktemp("empty"))
        config.remat = remat
        found[remat] = benchmark(config, 2)
    return found


def test_it_tells_speed_cost_and_memory(figures):
    expected = {"parameters", "images_per_second", "step_ms", "compile_seconds", "flops_per_image", "memory_bytes"}
    assert expected | {"compiler_flops_per_image", "bytes_per_image"} <= figures[False].keys()
    assert not {"mfu", "data_wait_share"} & figures[False].keys()  # no known peak, no prepared data
    found = figures[False]
    assert 0 < found["trace_seconds"] < found["compile_seconds"]
    seconds = found["step_ms"]["median"] / 1e3
    assert found["images_per_second"] == pytest.approx(found["batch_size"] / seconds)
    assert found["images_per_second_per_device"] == pytest.approx(found["images_per_second"] / jax.device_count())
    assert found["megapixels_per_second"] == pytest.approx(found["images_per_second"] * 32**2 / 1e6)
    assert found["flops_per_second"] == pytest.approx(found["flops_per_image"] * found["images_per_second"])
    roof = found["roofline"]
    assert roof["share"] == pytest.approx(roof["bound_ms"] / 1e3 / seconds)
    text = readable.text(found)
    assert "images/s" in text and "% of the roofline" in text and "unet, " in text
    drawn = roofline.roofline("t", "n", found["flops_per_second"], 1.0, roof["peak_flops"], roof["bandwidth"])
    assert drawn.startswith(b"\x89PNG")


def test_on_some_of_the_devices(tmp_path):
    config = networks.smallest("unet", "early")
    config.data_dir = str(tmp_path)
    config.batch_size = 8
    rows = scaling(config, 1, [2, 1])["rows"]
    assert [(row["devices"], row["batch_size"]) for row in rows] == [(1, 4), (2, 8)]
    first, second = rows
    assert first["efficiency"] == 1.0
    assert second["efficiency"] == pytest.approx(second["images_per_second"] / 2 / first["images_per_second"])
    assert "efficiency" in readable.text({"what": "scaling", "rows": rows})
    with pytest.raises(InputError, match=r"64 are asked for, and there are 8 .*JAX_NUM_CPU_DEVICES=64 makes as many"):
        scaling(config, 1, [64])
    with pytest.raises(InputError, match="expected a multiple of the 3 devices"):
        scaling(config, 1, [3])


def test_the_way_to_a_map(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "_EDGE", 300)
    config = networks.smallest("unet", "early")
    config.data_dir = str(tmp_path)
    config.window = 128
    found = inference.inference(config, 1, (1000, 2000))
    way, ahead = found["scene"], found["forecast"]
    assert way["tiles"] == 3 * 3  # of 128 px, at 0, 96 and 172
    assert ahead["tiles"] == 11 * 21  # at 0, 96, ..., 864 and 872; at 0, 96, ..., 1824 and 1872
    assert ahead["seconds"]["tiles"] == pytest.approx(way["seconds"]["tiles"] / 9 * 231)
    assert ahead["seconds"]["files"] == pytest.approx((way["total_seconds"] - way["seconds"]["tiles"]) * 2e6 / 9e4)
    assert found["what"] == "inference" and "1,000 x 2,000 px: about" in readable.text(found)
    contrastive = networks.smallest("swin_unet", task="contrastive")
    contrastive.data_dir = str(tmp_path)
    with pytest.raises(InputError, match="has no classes to map"):
        inference.inference(contrastive, 1)


def test_parts_of_a_batch_cost_what_the_batch_costs(figures, tmp_path):
    """By image, also where the compiler counts one part alone."""
    config = networks.smallest("unet", "early")
    config.data_dir = str(tmp_path)
    config.update({"accumulate": 2, "batch_size": 2 * config.batch_size})
    found = benchmark(config, 2)
    for name in ("compiler_flops_per_image", "flops_per_image"):
        assert found[name] == pytest.approx(figures[False][name], rel=0.1), name


def test_what_is_computed_again_is_not_what_the_network_needs(figures):
    assert figures[True]["flops_per_image"] == figures[False]["flops_per_image"] > 0
    assert figures[True]["parameters"] == figures[False]["parameters"]
