"""Steps compiled ahead of time: bounds by hand, memory against what devices really hold, plans over known costs.

Devices of the CPU stand for a slice; one test at the end asks the TPU compiler itself, where it is installed.
"""

import dataclasses
import importlib.util

import jax
import networks
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020
from lcjax.engine import experiment as experiments
from lcjax.parallel import mesh as meshes
from lcjax.profiling import aot_compile, memory_planner, topologies
from lcjax.profiling.aot_compile import Program, Setting

GIGA = 10**9
# 1 TFLOP/s, 1 GB/s of memory, 100 MB/s over links.
CHIP = topologies.Chip(("cpu",), 1e12, 103 * GIGA // 10, 1e9, 1e8)

# Reads 4 MB, writes 4 MB; exchanges 1 MB among four.
TEXT = """
HloModule jit_step, replica_count=1, num_partitions=4

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

ENTRY %main (x: f32[1000,1000]) -> f32[1000,1000] {
  %x = f32[1000,1000]{1,0} parameter(0)
  %part = f32[250,1000]{1,0:S(1)} constant({...})
  %all = f32[250,1000]{1,0:S(1)} all-reduce(%part), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %y = f32[1000,1000]{1,0} negate(%x)
}
""".strip()


def test_the_bound_is_the_longest_of_three_times():
    limits = aot_compile.bound(Program(1.0, flops=2e9, text=TEXT), 1, CHIP)
    # 2 GFLOP at 1 TFLOP/s; 8 MB at 1 GB/s; 2 x 3/4 x 1 MB at 100 MB/s.
    assert limits["terms_ms"] == pytest.approx({"compute": 2.0, "memory": 8.0, "interconnect": 15.0})
    assert limits["bound_ms"] == pytest.approx(15.0) and limits["binding_term"] == "interconnect"
    assert limits["collectives"]["kinds"] == {"all-reduce": {"times": 1, "bytes": 10**6, "sent_bytes": 1.5e6}}
    assert limits["collectives"]["list"] == [
        {"kind": "all-reduce", "bytes": 10**6, "arrays": 1, "largest": ["f32[250,1000]"], "group": 4, "times": 1}
    ]
    # Alone there are no links, and nothing that would pass them.
    alone = aot_compile.bound(
        Program(1.0, text=TEXT.replace("{{0,1,2,3}}", "{{0}}")), 1, dataclasses.replace(CHIP, links=0)
    )
    assert alone["terms_ms"]["interconnect"] == 0
    # In parts, the compiler has counted one.
    assert aot_compile.bound(Program(1.0, flops=2e9, text=TEXT), 10, CHIP)["binding_term"] == "compute"


def test_figures_are_by_image_and_of_all_chips():
    parts = {"arguments": 5 * GIGA, "temporary": 3 * GIGA, "outputs": 5 * GIGA, "aliased": 4 * GIGA, "code": GIGA}
    chip = dataclasses.replace(CHIP, memory=10 * GIGA)
    found = aot_compile.figures(Program(7.0, 2e9, 1e9, parts, TEXT), Setting(4), 16, chip)
    assert found["memory_bytes"] == 10 * GIGA == found["memory_capacity"] and found["fits"]
    assert found["compiler_flops_per_image"] == 0.5e9 and found["traffic_bytes_per_image"] == 2e6
    assert found["images_per_second_at_most"] == pytest.approx(16 * 4 / 15e-3)
    parts["temporary"] += 1
    assert not aot_compile.figures(Program(7.0, 2e9, 1e9, parts, TEXT), Setting(4), 16, chip)["fits"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (400.00G) "
            "exceeds available HBM (15.75G).",
            400 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 23.45G "
            "of 15.75G hbm. Exceeded hbm capacity by 7.70G.",
            round(23.45 * 2**30),
        ),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem.", None),
    ],
)
def test_what_the_compiler_would_need_is_in_its_refusal(message, expected):
    found = aot_compile.figures(Program(9.0, memory={"arguments": 7}, refusal=message), Setting(4), 16, CHIP)
    # Of temporaries it is told what they alone would need.
    needed = expected + 7 if "temporaries" in message else expected
    assert not found["fits"] and found["refusal"] == message and found.get("memory_bytes") == needed
    assert not {"bound_ms", "collectives"} & found.keys()


def test_efficiency_is_what_the_bounds_leave():
    one = {"bound_ms": 8.0, "terms_ms": {"compute": 2.0, "memory": 8.0, "interconnect": 0.0}}
    many = {"bound_ms": 10.0, "terms_ms": {"compute": 2.0, "memory": 8.0, "interconnect": 10.0}}
    assert aot_compile.efficiency(one, many) == {"overlapped": 0.8, "serial": pytest.approx(8 / 18)}


@pytest.fixture
def slice_of_cpus(monkeypatch):
    """The eight devices of the tests as the slice "v5e:2x4"."""
    monkeypatch.setattr(topologies, "devices", lambda name: jax.devices())
    monkeypatch.setattr(topologies, "chip_of", lambda name: CHIP)
    monkeypatch.setattr(aot_compile.importlib.metadata, "version", lambda name: "none")


def _config(**fields):
    config = networks.smallest("unet", "early")
    config.update({"batch_size": 16} | fields)
    return config


@pytest.mark.parametrize("parts", [1, 2])
def test_the_step_that_is_compiled_is_the_step_that_runs(parts):
    """Of shapes alone, the program of the real state and batch."""
    config = _config(accumulate=parts)
    config.parallel.fsdp = 2
    experiment = experiments.build_without_data(config)
    state, batch = experiment.shapes()
    real = (
        experiment.initial_state(*experiment.random_values()),
        experiment.global_batch(experiment.synthetic_batch(16)),
    )
    describe = lambda leaf: (leaf.shape, leaf.dtype, leaf.sharding)  # noqa: E731
    assert jax.tree.map(describe, (state, batch)) == jax.tree.map(describe, real)


def test_a_slice_of_cpus_is_forecast(slice_of_cpus, capsys):
    found = aot_compile.forecast(_config(), "v5e:2x4")
    assert found["kind"] == "compiled bound, not a measurement" and aot_compile.KIND in aot_compile.text(found)
    assert found["chips"] == 8 and found["images_per_chip"] == 2
    # Every parameter's gradient is summed over all devices, in float32.
    parameters = sum(leaf.size for leaf in experiments.build_without_data(_config()).template.parameters.values())
    exchanged = found["collectives"]["kinds"]["all-reduce"]["bytes"]
    assert 4 * parameters <= exchanged < 4 * parameters * 1.2
    assert {row["group"] for row in found["collectives"]["list"]} == {8}
    assert 0 < found["efficiency"]["serial"] <= found["efficiency"]["overlapped"]
    assert found["flops_per_image"] == pytest.approx(found["compiler_flops_per_image"], rel=0.5)
    progress = capsys.readouterr().err
    assert "compiling 1 of 2 (minutes each)" in progress and "compiling 2 of 2 (about 1 min left)" in progress


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"batch_size": 12}, "config.batch_size=12: does not divide over 8 devices"),
        ({"parallel": {"fsdp": 3}}, "config.parallel.fsdp=3: does not divide the 8 devices"),
        ({"accumulate": 3}, "config.batch_size=16: does not divide over 8 devices, in 3 parts"),
    ],
)
def test_what_does_not_go_together_is_refused(slice_of_cpus, fields, says):
    for run in (aot_compile.forecast, memory_planner.plan):
        with pytest.raises(InputError, match=says):
            run(_config(**fields), "v5e:2x4")


def test_state_of_a_device_is_what_it_holds():
    """By arithmetic, against the arrays."""
    config = _config()
    config.model.base = 32
    known = memory_planner.sizes(config, jax.devices())
    assert known.state[1] > known.state[4] > known.state[1] / 4
    experiment = experiments.build_without_data(config)
    for fsdp, expected in known.state.items():
        other = dataclasses.replace(experiment, mesh=meshes.make_mesh(-1, fsdp, 8))
        state = other.initial_state(*other.random_values())
        assert expected == sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    batch = experiment.synthetic_batch(16)
    assert known.image == sum(array.nbytes for array in batch.values()) / 16
    assert known.gradient == sum(leaf.size for leaf in experiment.template.parameters.values()) * 4


def test_a_line_goes_through_its_points():
    line = memory_planner.Line.through({8: 9 * GIGA, 4: 5 * GIGA})
    assert (line.start, line.slope) == (GIGA, GIGA)
    assert line.at(2) == 3 * GIGA and line.most(10 * GIGA) == 9 and line.most(GIGA // 2) == 0


# Bytes of a chip, in a world where they are known: images at once are dear, less so with remat.
def _world(setting: Setting) -> int:
    return GIGA + setting.images // setting.parts * (GIGA // 2 if setting.remat else GIGA)


def _compiler(world, log):
    def compiled(config, setting, devices):
        log.append(setting)
        needed = world(setting)
        if needed > CHIP.memory:
            return Program(1.0, refusal=f"RESOURCE_EXHAUSTED: Used {needed / 2**30:.6f}G of 9.31G hbm.")
        parts = {"arguments": needed, "temporary": 0, "outputs": 0, "aliased": 0, "code": 0}
        return Program(1.0, 2e9, 1e9, parts, TEXT)

    return compiled


@pytest.mark.parametrize(
    ("images", "chosen"),
    [(2, Setting(2)), (8, Setting(8)), (16, Setting(16, remat=True)), (64, Setting(64, parts=4, remat=True))],
)
def test_the_plan_is_the_least_that_fits_and_was_compiled(slice_of_cpus, monkeypatch, images, chosen):
    log: list[Setting] = []
    monkeypatch.setattr(aot_compile, "compiled", _compiler(_world, log))
    found = memory_planner.plan(_config(batch_size=8 * images), "v5e:2x4")
    rows = {(row["remat"], row["fsdp"]): row for row in found["choices"]}
    assert rows[False, 1]["largest_batch_size"] == 8 * 9 and rows[True, 1]["largest_batch_size"] == 8 * 18
    assert rows[False, 1]["memory_bytes"] == pytest.approx((1 + images) * GIGA, rel=1e-4)
    assert found["plan"]["flags"] == memory_planner.flags(chosen)
    assert chosen in log and len(log) == len(set(log)) <= 5
    assert memory_planner.flags(chosen) in memory_planner.text(found) and aot_compile.KIND in memory_planner.text(found)


def test_a_plan_that_the_compiler_refuses_is_not_proposed(slice_of_cpus, monkeypatch):
    """Parts cost more than the line said: the next candidate is tried."""
    log: list[Setting] = []
    monkeypatch.setattr(aot_compile, "compiled", _compiler(lambda one: _world(one) * (1 + (one.parts == 4)), log))
    found = memory_planner.plan(_config(batch_size=8 * 64), "v5e:2x4")
    assert found["plan"]["accumulate"] == 8 and found["plan"]["fits"]


def test_no_more_than_three_candidates_are_compiled(slice_of_cpus, monkeypatch):
    log: list[Setting] = []
    monkeypatch.setattr(aot_compile, "compiled", _compiler(lambda one: _world(one) + 20 * GIGA * (one.parts > 1), log))
    assert "plan" not in memory_planner.plan(_config(batch_size=8 * 64), "v5e:2x4")
    assert len(log) == 4 + 3


def test_where_nothing_fits_it_says_so(slice_of_cpus, monkeypatch):
    monkeypatch.setattr(aot_compile, "compiled", _compiler(lambda one: 20 * GIGA + _world(one), []))
    found = memory_planner.plan(_config(batch_size=8 * 4), "v5e:2x4")
    assert "plan" not in found and "nothing fits" in memory_planner.text(found)
    assert {row["largest_batch_size"] for row in found["choices"]} == {0}


def test_a_contrastive_batch_is_not_parted(slice_of_cpus, monkeypatch):
    config = networks.smallest("two_stream_swin", task="contrastive")
    config.batch_size = 8 * 64
    monkeypatch.setattr(aot_compile, "compiled", _compiler(_world, []))
    assert "plan" not in memory_planner.plan(config, "v5e:2x4")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the TPU compiler is not installed: pip install 'lcjax[tpu]'"
)
def test_the_tpu_compiler_is_asked():
    config = dfc2020.get_config("model=swin_unet,tiny=true")
    config.model.update(networks.SMALLEST["swin_unet"])
    config.update({"crop": 32, "batch_size": 8, "precision": "bf16"})
    found = aot_compile.forecast(config, "v5e:2x2")
    assert found["fits"] and found["memory_capacity"] == 15.75 * 2**30
    assert found["bound_ms"] == max(found["terms_ms"].values()) > 0
    # The whole gradient, in bfloat16 at least.
    parameters = sum(leaf.size for leaf in experiments.build_without_data(config).template.parameters.values())
    assert found["collectives"]["kinds"]["all-reduce"]["bytes"] >= 2 * parameters
    assert {row["group"] for row in found["collectives"]["list"]} == {4}
    # What does not fit is told, not raised.
    config.batch_size = 4 * 65536
    refused = aot_compile.figures(
        aot_compile.compiled(config, Setting(65536), topologies.devices("v5e:2x2")), Setting(65536), 4, CHIP
    )
    assert not refused["fits"] and refused["memory_bytes"] > 16e9
