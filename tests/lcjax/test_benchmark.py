"""The figures that `benchmark` gives of a config."""

import networks
import pytest

from lcjax.benchmark import benchmark


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


def test_what_is_computed_again_is_not_what_the_network_needs(figures):
    assert figures[True]["flops_per_image"] == figures[False]["flops_per_image"] > 0
    assert figures[True]["parameters"] == figures[False]["parameters"]
