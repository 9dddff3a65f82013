"""What arrives of a file from elsewhere: the table, the refusals, and what is peeled off names."""

import dataclasses
import time

import numpy as np
import pytest
from torch_names import state_dict

from data_pipelines.schema.errors import InputError
from lcjax.models import params, registry
from lcjax.models.interfaces import whole
from lcjax.weights.arrival import Plan, arrive, shaped
from lcjax.weights.layout import UNKNOWN, WRAPPERS, Foreign, Layout, Part, converted, recognised
from lcjax.weights.layouts.torchvision_resnet import LAYOUTS

WHERE = "config.init=resnet.pth"


def template(layers=18, bands=3, **numbers):
    model = registry.sized(f"resnet{layers}_unet", "") | {"width": 8, "widths": (8, 8, 8, 8, 8)} | numbers
    return params.Template(
        lambda rngs: registry.segmenter(model, streams=whole({"aerial": bands}), classes=5, precision="f32", rngs=rngs)
    )


@pytest.fixture(scope="module")
def network():
    return template()


@pytest.fixture(scope="module")
def theirs(network):
    return state_dict(network)


def read(arrays, wanted="") -> Foreign:
    return converted(arrays, *recognised(arrays, LAYOUTS, WHERE, wanted), WHERE)


def plan(of, bands=("R", "G", "B"), **more):
    return Plan(of.groups, {"aerial": bands}, {"aerial": "image"}, **more)


def before(of):
    parameters, statistics = of.initial_values(0)
    return parameters | statistics


def arrived(of, arrays, bands=("R", "G", "B"), **more):
    values = before(of)
    return values, *arrive(values, read(arrays), plan(of, bands, **more), WHERE, "ab" * 32)


def test_every_array_of_the_encoder_arrives_and_the_table_says_so(network, theirs):
    before, after, arrival = arrived(network, theirs)
    counts = arrival.counts()
    encoder = [path for path in before if path.startswith("encoders/")]
    assert counts == {"taken": len(encoder), "resized": 0, "adapted": 0, "replaced": 0, "missing": 52}
    assert all(not np.array_equal(before[path], after[path]) for path in encoder)
    rest = before.keys() - set(encoder)
    assert all(np.array_equal(before[path], after[path]) for path in rest)
    kernel = after["encoders/aerial/stages/1/0/layers/1/conv/kernel"]
    np.testing.assert_array_equal(kernel[0, 1, 2, 3], theirs["layer2.0.conv2.weight"][3, 2, 0, 1])
    np.testing.assert_array_equal(after["encoders/aerial/stem/norm/var"], theirs["bn1.running_var"])
    text = arrival.text()
    assert text.startswith("config.init=resnet.pth: ResNet of torchvision or timm, SHA-256 abababababab...\n")
    assert f"encoders/aerial  {len(encoder)} taken" in text
    assert "2: fc.weight, fc.bias: head of the origin" in text
    assert "counts batches" in text


@pytest.mark.parametrize("wrapper", ["state_dict.", "model.module.", "state_dict.backbone._orig_mod.", "teacher."])
def test_wrappers_are_peeled_and_named(network, theirs, wrapper):
    wrapped = {wrapper + name: value for name, value in theirs.items()} | {"optimizer.state.0.step": np.array(1.0)}
    _, after, arrival = arrived(network, wrapped)
    assert arrival.peeled == wrapper
    assert arrival.unused["optimizer.state.0.step"] == f"lies outside of {wrapper}"
    np.testing.assert_array_equal(after["encoders/aerial/stem/norm/scale"], theirs["bn1.weight"])


def test_other_bands_are_adapted_by_a_rule_that_is_told(network, theirs):
    wide = template(bands=5)
    _, after, arrival = arrived(wide, theirs, ("R", "G", "B", "NIR", "elevation"))
    assert arrival.counts()["adapted"] == 1
    assert arrival.bands == "name"
    assert "stem/conv/kernel: by name: R, G, B; NIR, elevation begin at 0" in arrival.text()
    kernel = after["encoders/aerial/stem/conv/kernel"]
    np.testing.assert_array_equal(kernel[:, :, :3], theirs["conv1.weight"].transpose(2, 3, 1, 0))
    assert not kernel[:, :, 3:].any()


def without(arrays, pattern):
    return {name: value for name, value in arrays.items() if pattern not in name}


def test_a_file_that_would_leave_an_encoder_random_is_refused(network, theirs):
    for fault, says in [
        (
            without(theirs, "layer3.1"),
            r"holds nothing for 10 of the 100 arrays of encoders/aerial, the first encoders/aer",
        ),
        (without(theirs, "running_mean"), "holds nothing for 20 of the 100 arrays"),
        (
            {f"x{name}": value for name, value in theirs.items()},
            "its entries are xfc.weight, xfc.bias, xlayer1",
        ),
        ({}, "its entries are ; expected those of a layout of torchvision_resnet"),
    ]:
        with pytest.raises(InputError, match=says) as raised:
            arrived(network, fault)
        assert str(raised.value).startswith(WHERE)
        assert "\n" not in str(raised.value)


def test_another_network_is_refused(network, theirs):
    with pytest.raises(InputError, match=r"holds layer1\.2\.conv1\.weight, for which encoders/aerial has no place"):
        arrived(network, state_dict(template(34)))
    with pytest.raises(InputError, match=r"layer1\.0\.conv1\.weight has the shape \(3, 3, 16, 16\), and"):
        arrived(network, state_dict(template(width=16)))
    with pytest.raises(InputError, match=r"holds nothing for|has the shape"):
        arrived(template(50), theirs)


def test_a_part_of_a_block_that_no_network_here_has_is_refused_and_not_left_out(network, theirs):
    """A head of somebody's own is not: it stands beside the encoder."""
    gated = theirs | {"layer2.0.gate.conv.weight": np.ones((8, 8, 1, 1), np.float32)}
    with pytest.raises(
        InputError, match=r"holds layer2\.0\.gate\.conv\.weight, for which encoders/aerial has no place"
    ):
        arrived(network, gated)
    unknown = dataclasses.replace(read(theirs), skipped={"layer2.0.gate.conv.weight": UNKNOWN, "fc.weight": UNKNOWN})
    with pytest.raises(InputError, match=r"holds layer2\.0\.gate\.conv\.weight in a block of its encoder \(1 such"):
        arrive(before(network), unknown, plan(network), WHERE)
    own_head = theirs | {"segment.0.block.weight": np.ones((5, 8, 1, 1), np.float32)}
    assert "segment.0.block.weight: no entry that its layout knows" in arrived(network, own_head)[2].text()


def test_a_layout_that_is_asked_for_must_fit(theirs):
    with pytest.raises(InputError, match=r"weights\.layout='keras': expected one of torchvision_resnet, "):
        read(theirs, "keras")
    with pytest.raises(InputError, match="expected those of the layout torchvision_resnet"):
        read({"stem.weight": np.zeros((1, 1, 1, 1))}, "torchvision_resnet")


TWO = Layout(
    "two",
    "A made-up network",
    ("unet",),
    parts=(Part("q", "encoders/image/qkv[0/2]"), Part("k", "encoders/image/qkv[1/2]"), Part("up", "decoders/image/up")),
    first="^first",
    unused=(("^first", "not here"),),
    copies=(("^copy", "q"),),
    turns=(("/up/", "up"),),
)
ENTRIES = {
    "first.weight": np.zeros((2, 2, 1, 1)),
    "q.weight": np.arange(6.0).reshape(2, 3),
    "k.weight": -np.arange(6.0).reshape(2, 3),
    "up.weight": np.arange(24.0).reshape(2, 3, 2, 2),
}


def test_what_is_apart_there_stands_side_by_side_here():
    found = converted(ENTRIES, TWO, "", WHERE).arrays
    np.testing.assert_array_equal(found["encoders/image/qkv/kernel"], [[0, 3, 0, -3], [1, 4, -1, -4], [2, 5, -2, -5]])
    with pytest.raises(InputError, match=r"holds q\.weight, and 2 such entries make encoders/image/qkv/kernel"):
        converted(without(ENTRIES, "k."), TWO, "", WHERE)


def test_a_transposed_convolution_is_a_dense_layer_unfolded_in_space():
    kernel = converted(ENTRIES, TWO, "", WHERE).arrays["decoders/image/up/kernel"]
    for row, column, inputs, outputs in np.ndindex(2, 2, 2, 3):
        at = (2 * row + column) * 3 + outputs
        assert kernel[inputs, at] == ENTRIES["up.weight"][inputs, outputs, row, column]


def test_entries_that_stand_twice_must_be_equal():
    twice = ENTRIES | {"copy.weight": ENTRIES["q.weight"]}
    assert converted(twice, TWO, "", WHERE).skipped["copy.weight"] == "stands there twice, with the same values"
    with pytest.raises(InputError, match=r"copy\.weight and q\.weight differ; expected the same values twice"):
        converted(twice | {"copy.weight": ENTRIES["k.weight"]}, TWO, "", WHERE)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"up.weight": np.zeros((2, 3))}, r"up\.weight has the shape \(2, 3\), which it has in no A made-up network"),
        (
            {"k.weight": np.zeros((5, 3))},
            r"q\.weight \(3, 2\), k\.weight \(3, 5\), which make .*; expected equal",
        ),
        ({"q.weight": np.array(1.0), "k.weight": np.array(2.0)}, "expected equal shapes"),
        ({"q[0/0].weight": np.zeros(3)}, "expected equal shapes|are both|such entries make"),
    ],
)
def test_shapes_that_an_origin_cannot_have_are_one_line(entries, says):
    with pytest.raises(InputError, match=says) as raised:
        converted(ENTRIES | entries, TWO, "", WHERE)
    assert "\n" not in str(raised.value)


def test_tables_of_positions_of_no_known_shape_fit_nothing():
    assert shaped("encoders/image/position", np.zeros((2, 17, 4), np.float32), (17, 4)) is None


def test_numbers_beyond_float32_are_refused_and_no_infinity(theirs):
    far = theirs | {"conv1.weight": np.full((8, 3, 7, 7), 1e300)}
    with pytest.raises(InputError, match=r"conv1\.weight holds numbers beyond those of float32, up to 1e\+300"):
        read(far)


def test_many_names_made_of_wrappers_are_looked_at_once():
    words = WRAPPERS[:10]
    names = {".".join((a, b, c, "x")): np.zeros(1) for a in words for b in words for c in words}
    started = time.perf_counter()
    with pytest.raises(InputError, match="its entries are"):
        read(names)
    assert time.perf_counter() - started < 10  # it was minutes


def test_a_head_is_taken_whole_and_behind_its_own_decoder_or_not_at_all(network, theirs):
    values = before(network)
    rest = {path: value + 1 for path, value in values.items() if path.startswith(("decoders/", "head/"))}
    rest = {path.replace("/aerial/", "/image/"): value for path, value in rest.items()}
    foreign = read(theirs)
    for change, how in [
        ({}, {"taken"}),
        ({"head/classify/kernel": np.zeros((3, 3, 9, 5), np.float32)}, {"replaced"}),
        ({"decoders/image/levels/0/first/conv/kernel": np.zeros((3, 3, 9, 8), np.float32)}, {"replaced"}),
    ]:
        arrays = {**foreign.arrays, **rest, **change}
        names = dict(foreign.names) | {path: (path,) for path in rest}
        whole = dataclasses.replace(foreign, arrays=arrays, names=names)
        _, arrival = arrive(values, whole, plan(network, head=True), WHERE)
        assert {row.how for row in arrival.rows if row.path.startswith("head/")} == how
