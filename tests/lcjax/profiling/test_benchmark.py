"""The figures that `benchmark` gives of a config."""

import networks
import pytest

from lcjax.profiling.benchmark import benchmark


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
