"""What a compiled program moves: of programs of eight CPU devices with known sizes, and of lines as TPUs have them."""

import jax
import jax.numpy as jnp
import pytest
from jax import shard_map
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lcjax.profiling import hlo

SPREAD = P(("data", "fsdp"))


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def compiled(mesh, function, shape) -> hlo.HloModule:
    """The program of a function of each device's part of a float32 array."""
    array = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, SPREAD))
    mapped = shard_map(function, mesh=mesh, in_specs=SPREAD, out_specs=SPREAD, check_vma=False)
    return hlo.HloModule(jax.jit(mapped).lower(array).compile().as_text())


# Function of an (8, 64) float32 array on each device; kind, devices in a group, bytes of the larger side, bytes that a
# device sends: by hand.
EXCHANGES = {
    "all": (lambda x: jax.lax.psum(x, ("data", "fsdp")), "all-reduce", 8, 2048, 2 * 2048 * 7 / 8),
    "some": (lambda x: jax.lax.psum(x, "data"), "all-reduce", 4, 2048, 2 * 2048 * 3 / 4),
    "gather": (lambda x: jax.lax.all_gather(x, "data"), "all-gather", 4, 4 * 2048, 3 * 2048),
    "scatter": (lambda x: jax.lax.psum_scatter(x, "data", tiled=True), "reduce-scatter", 4, 2048, 2048 * 3 / 4),
    "swap": (lambda x: jax.lax.all_to_all(x, "data", 0, 0, tiled=True), "all-to-all", 4, 2048, 2048 * 3 / 4),
    "pass": (lambda x: jax.lax.ppermute(x, "fsdp", [(0, 1), (1, 0)]), "collective-permute", 2, 2048, 2048),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_what_devices_exchange_is_found(mesh, name):
    function, kind, group, size, sent = EXCHANGES[name]
    (found,) = compiled(mesh, function, (64, 64)).collectives()
    assert (found.kind, found.size, found.times, found.sent) == (kind, size, 1, sent)
    if kind != "collective-permute":  # pairs have no groups
        assert found.group == group


def test_a_loop_counts_as_often_as_it_runs(mesh):
    def function(x):
        return jax.lax.scan(lambda carry, _: (jax.lax.psum(carry, "data") * 0.5, None), x, length=5)[0]

    program = compiled(mesh, function, (64, 64))
    (found,) = program.collectives()
    assert (found.times, found.sent, program.unknown_loops) == (5, 5 * 2 * 2048 * 3 / 4, 0)


def test_a_loop_of_unknown_length_is_told(mesh):
    def function(x):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 100, lambda x: x + jax.lax.pmax(x, ("data", "fsdp")), x)

    program = compiled(mesh, function, (8, 64))
    assert program.unknown_loops == 1
    assert [one.times for one in program.collectives()] == [1]


def test_arrays_exchanged_together_are_one_exchange(mesh):
    def function(x):
        return jax.lax.psum((x, x[:2].astype(jnp.bfloat16) * 2), ("data", "fsdp"))

    found = compiled(mesh, function, (64, 64)).collectives()
    # The CPU compiler may sum bfloat16 as float32.
    assert sum(one.size for one in found) in (2048 + 256, 2048 + 512)
    assert sum(len(one.arrays) for one in found) == 2


def test_memory_is_what_is_read_and_written(mesh):
    program = compiled(mesh, lambda x: jnp.sin(x) * 2 + 1, (8 * 128, 256))
    assert program.memory_bytes() == 2 * 128 * 256 * 4
    # In a loop, each time: x is read and written, and the counter of four bytes is nothing beside it.
    looped = compiled(mesh, lambda x: jax.lax.fori_loop(0, 6, lambda _, x: jnp.sin(x), x), (8 * 128, 256))
    assert looped.memory_bytes() == pytest.approx(6 * 2 * 128 * 256 * 4, rel=0.2)


def test_of_a_slice_only_the_slice_is_read(mesh):
    def function(x):
        return jax.lax.dynamic_slice(x, (jnp.int32(jnp.argmax(x[:, 0])), 0), (2, 64)) * 2

    program = compiled(mesh, function, (8 * 4096, 64))
    column, rows = 4096 * 4, 2 * 64 * 4
    # The column may be cut out before it is searched.
    assert 0 < program.memory_bytes() < 4 * column + 4 * rows < 4096 * 64 * 4


TPU = """
HloModule jit_step, is_scheduled=true, replica_count=1, num_partitions=16

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%chained.1 (p: bf16[8,128]) -> (bf16[64,128], bf16[8,128]) {
  %p = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %gather.1 = bf16[64,128]{1,0:T(8,128)(2,1)} all-gather(%p), channel_id=7, GROUPS, dimensions={0}
  ROOT %pair = (bf16[64,128]{1,0:T(8,128)(2,1)}, bf16[8,128]{1,0:T(8,128)(2,1)}) tuple(%gather.1, %p)
}

%chained.2 (q: bf16[8,128]) -> bf16[64,128] {
  %q = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %gather.2 = bf16[64,128]{1,0:T(8,128)(2,1)} all-gather(%q), channel_id=7, GROUPS, dimensions={0}
}

%body (carry: (s32[], f32[256])) -> (s32[], f32[256]) {
  %carry = (s32[]{:T(128)}, f32[256]{0:T(256)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  %x = f32[256]{0:T(256)} get-tuple-element(%carry), index=1
  %one = s32[]{:T(128)S(6)} constant(1)
  %next = s32[]{:T(128)S(6)} add(%i, %one)
  %started = f32[256]{0:T(256)} all-reduce-start(%x), channel_id=2, PARTS, to_apply=%add
  %done = f32[256]{0:T(256)} all-reduce-done(%started)
  ROOT %out = (s32[]{:T(128)}, f32[256]{0:T(256)}) tuple(%next, %done)
}

%test (carry.1: (s32[], f32[256])) -> pred[] {
  %limit = s32[]{:T(128)} constant(3)
  %carry.1 = (s32[]{:T(128)}, f32[256]{0:T(256)}) parameter(0)
  %j = s32[]{:T(128)S(6)} get-tuple-element(%carry.1), index=0
  ROOT %less = pred[]{:T(512)S(6)} compare(%j, %limit), direction=LT
}

ENTRY %main (x.0: f32[256], w: bf16[8,128]) -> f32[256] {
  %x.0 = f32[256]{0:T(256)} parameter(0)
  %w = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(1)
  %fast = (f32[256]{0:T(256)S(1)}, f32[256]{0:T(256)}, u32[]{:S(2)}) copy-start(%x.0)
  %fast.done = f32[256]{0:T(256)S(1)} copy-done(%fast)
  %twice = f32[256]{0:T(256)S(1)} add(%fast.done, %fast.done)
  %first = (bf16[64,128]{1,0:T(8,128)(2,1)}, bf16[8,128]{1,0:T(8,128)(2,1)}) fusion(%w), kind=kCustom, calls=%chained.1
  %w.1 = bf16[8,128]{1,0:T(8,128)(2,1)} get-tuple-element(%first), index=1
  %second = bf16[64,128]{1,0:T(8,128)(2,1)} fusion(%w.1), kind=kCustom, calls=%chained.2
  %both = bf16[128,128]{1,0:T(8,128)(2,1)} custom-call(%second, %second), custom_call_target="ConcatBitcast"
  %zero = s32[]{:T(128)} constant(0)
  %start = (s32[]{:T(128)}, f32[256]{0:T(256)}) tuple(%zero, %twice), metadata={op_name="a (b"}
  %loop = (s32[]{:T(128)}, f32[256]{0:T(256)}) while(%start), condition=%test, body=%body
  ROOT %result = f32[256]{0:T(256)} get-tuple-element(%loop), index=1
}
""".strip()
# Groups of devices by axes of a mesh: of one axis in another order, and four neighbours of another.
AXIS, PARTS = "mesh['x'=2,'y'=8], device_ids=([8,2]T(1,0)) {'y'}", "mesh['x'=16] {'x':(1)4}"


def tpu_program(parts: str) -> hlo.HloModule:
    """The program above, with what the sum in its loop goes over."""
    return hlo.HloModule(TPU.replace("GROUPS", f"replica_groups={AXIS}").replace("PARTS", f"replica_groups={parts}"))


def test_what_tpus_write_otherwise():
    """Begun and ended apart, in parts of one exchange, over axes with names, in fast memory."""
    program = tpu_program(PARTS)
    found = {one.kind: one for one in program.collectives()}
    assert len(program.collectives()) == 2
    gather, reduce = found["all-gather"], found["all-reduce"]
    assert (gather.size, gather.group, gather.times) == (64 * 128 * 2, 8, 1)
    assert (reduce.size, reduce.group, reduce.times) == (1024, 4, 3)
    assert program.unknown_loops == 0
    # Copied once into fast memory; added there; the chain reads 2 KB, writes 16 + 2 and reads 2, writes 16; the loop
    # reads and writes 1 KB three times, and the counter and its limit, 4 bytes each.
    chain = 2048 + 16384 + 2048 + 2048 + 16384
    assert program.memory_bytes() == 1024 + chain + 3 * (2048 + 8)


FSDP = """
HloModule jit_step, is_scheduled=true, replica_count=1, num_partitions=4

%add (a: bf16[], b: bf16[]) -> bf16[] {
  %a = bf16[] parameter(0)
  %b = bf16[] parameter(1)
  ROOT %sum = bf16[] add(%a, %b)
}

%all-reduce-scatter (input: bf16[64,128]) -> bf16[16,128] {
  %input = bf16[64,128]{1,0} parameter(0)
  %all-reduce.4 = bf16[64,128]{1,0} all-reduce(%input), channel_id=5, replica_groups={{0,1,2,3}}, to_apply=%add
  %own = s32[] constant(0)
  ROOT %slice = bf16[16,128]{1,0} dynamic-slice(%all-reduce.4, %own, %own), dynamic_slice_sizes={16,128}
}

%begin (shard: bf16[8,128]) -> (bf16[8,128], bf16[32,128], u32[]) {
  %shard = bf16[8,128]{1,0} parameter(0)
  %gather.1 = bf16[32,128]{1,0} all-gather(%shard), channel_id=7, replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %begun = (bf16[8,128]{1,0}, bf16[32,128]{1,0}, u32[]{:S(2)}) custom-call(%gather.1), custom_call_target="AsyncCollectiveStart"
}

%beside (s.1: bf16[8,128], whole.1: bf16[32,128], x.1: bf16[64]) -> (bf16[64], bf16[8,128], bf16[32,128]) {
  %s.1 = bf16[8,128]{1,0} parameter(0)
  %whole.1 = bf16[32,128]{1,0} parameter(1)
  %x.1 = bf16[64]{0} parameter(2)
  %gather.2 = bf16[32,128]{1,0} all-gather(%s.1), channel_id=7, replica_groups={{0,1,2,3}}, dimensions={0}
  %twice = bf16[64]{0} add(%x.1, %x.1)
  ROOT %out = (bf16[64]{0}, bf16[8,128]{1,0}, bf16[32,128]{1,0}) tuple(%twice, %s.1, %whole.1)
}

%finish (s.2: bf16[8,128], whole.2: bf16[32,128]) -> bf16[32,128] {
  %s.2 = bf16[8,128]{1,0} parameter(0)
  %whole.2 = bf16[32,128]{1,0} parameter(1)
  %gather.3 = bf16[32,128]{1,0} all-gather(%s.2), channel_id=7, replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %done = bf16[32,128]{1,0} custom-call(%s.2, %whole.2, %gather.3), custom_call_target="AsyncCollectiveDone"
}

ENTRY %main (g: bf16[64,128], w: bf16[8,128], x: bf16[64]) -> bf16[32,128] {
  %g = bf16[64,128]{1,0} parameter(0)
  %w = bf16[8,128]{1,0} parameter(1)
  %x = bf16[64]{0} parameter(2)
  %scattered = bf16[16,128]{1,0} fusion(%g), kind=kCustom, calls=%all-reduce-scatter
  %start = (bf16[8,128]{1,0}, bf16[32,128]{1,0}, u32[]{:S(2)}) fusion(%w), kind=kCustom, output_to_operand_aliasing={{0}: (0, {})}, calls=%begin
  %w.1 = bf16[8,128]{1,0} get-tuple-element(%start), index=0
  %all.1 = bf16[32,128]{1,0} get-tuple-element(%start), index=1
  %middle = (bf16[64]{0}, bf16[8,128]{1,0}, bf16[32,128]{1,0}) fusion(%w.1, %all.1, %x), kind=kOutput, output_to_operand_aliasing={{1}: (0, {}), {2}: (1, {})}, calls=%beside
  %w.2 = bf16[8,128]{1,0} get-tuple-element(%middle), index=1
  %all.2 = bf16[32,128]{1,0} get-tuple-element(%middle), index=2
  ROOT %end = bf16[32,128]{1,0} fusion(%w.2, %all.2), kind=kCustom, output_to_operand_aliasing={{}: (1, {})}, calls=%finish
}
""".strip()  # noqa: E501


def test_what_tpus_write_where_parameters_are_spread():
    """A sum of which each device keeps a part, and an exchange that goes on beside other work."""
    program = hlo.HloModule(FSDP)
    scatter, gather = program.collectives()
    assert (scatter.kind, scatter.arrays, scatter.size) == ("reduce-scatter", ("bf16[16,128]",), 64 * 128 * 2)
    assert scatter.sent == 64 * 128 * 2 * 3 / 4
    assert (gather.kind, gather.sent) == ("all-gather", 32 * 128 * 2 * 3 / 4)
    # The sum is read and its part written; what is gathered is written once; x is read, and its double written. At the
    # end the shard is read: nothing says that it lies where a result does.
    assert program.memory_bytes() == (64 + 16) * 128 * 2 + 32 * 128 * 2 + 2 * 64 * 2 + 8 * 128 * 2


def test_groups_are_counted_however_they_are_written():
    for groups, size in {
        "{{0,1,2},{3,4,5}}": 3,
        "[2,8]<=[16]": 8,
        "[4,4]<=[2,8]T(1,0)": 4,
        "{}": 16,
    }.items():
        program = tpu_program(groups)
        assert {one.group for one in program.collectives() if one.kind == "all-reduce"} == {size}, groups


def test_bytes_of_types():
    assert (
        hlo.array_bytes("(f32[3,5]{1,0:T(8,128)S(1)}, /*index=1*/bf16[7]{0}, pred[9], s4[4], token[])")
        == 60 + 14 + 9 + 2
    )
    assert hlo.array_bytes("(f32[3,5]{1,0:T(8,128)S(1)}, bf16[7]{0})", main=True) == 14
    assert hlo.array_bytes("u8[]") == 1
    assert hlo.array_bytes("c128[2]") == 32


def kernel(said: str) -> str:
    """A kernel of a TPU with operands of 1 KB in main memory and in fast memory and two such results, four times."""
    return f"""
HloModule jit_step, is_scheduled=true

%body (x: f32[256]) -> f32[256] {{
  %x = f32[256]{{0}} parameter(0)
  %near = f32[256]{{0:T(256)S(1)}} parameter(1)
  %made = (f32[256]{{0}}, f32[256]{{0:T(256)S(1)}}) custom-call(%x, %near), frontend_attributes={{kernel_metadata={{
"moved_bytes":"{said}"
}}}}, metadata={{op_name="jit(step)"}}, backend_config={{"custom_call_config":{{"body":"TUzv"}}}}
  ROOT %first = f32[256]{{0}} get-tuple-element(%made), index=0, frontend_attributes={{kernel_metadata={{
"moved_bytes":"{said}"
}}}}
}}

ENTRY %main (y: f32[256]) -> f32[256] {{
  %y = f32[256]{{0}} parameter(0)
  ROOT %loop = f32[256]{{0}} while(%y), condition=%test, body=%body, backend_config={{"known_trip_count":{{"n":"4"}}}}
}}

%test (x.1: f32[256]) -> pred[] {{
  %x.1 = f32[256]{{0}} parameter(0)
  ROOT %true = pred[]{{:S(2)}} constant(true)
}}
""".strip()


@pytest.mark.parametrize(
    ("said", "moved"),
    [
        ("3072 9999 1024 9999", 3072 + 1024),  # it reads its operand three times; what is in fast memory moves nothing
        ("8 8 8 8", 2 * 1024),  # never less than operands and results
    ],
)
def test_a_kernel_moves_what_it_says(said, moved):
    assert hlo.HloModule(kernel(said)).memory_bytes() == 4 * moved


def test_a_kernel_that_speaks_of_other_arrays_is_refused():
    with pytest.raises(AssertionError, match="says what 2 arrays move, and has 4"):
        hlo.HloModule(kernel("8 8")).memory_bytes()
