"""Records as TFDS writes them, found without a parser of protocol buffers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow_datasets.proto import tf_example_pb2 as reference

from data_pipelines.prepare.shard_writer import Layout
from data_pipelines.reading import record_parser
from data_pipelines.schema.sensors import AERIAL, S1
from data_pipelines.schema.spec import Record, Vector

SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 5))  # lengths of one, two and three bytes
DTYPES = st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"])


@st.composite
def parts(draw):
    names = draw(st.lists(st.text("abcdefgh_1", min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
    return {name: draw(arrays.arrays(draw(DTYPES), draw(SHAPES), fill=st.just(7))) for name in names}


@given(parts())
def test_arrays_are_those_that_were_written(written):
    message = reference.Example()
    for name, array in written.items():
        message.features.feature[name].bytes_list.value.append(array.tobytes())
    layout = {name: (array.dtype, array.shape) for name, array in written.items()}
    found = record_parser.arrays(message.SerializeToString(), layout)
    assert found.keys() == written.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_only_what_is_named_is_taken_and_nothing_is_copied():
    layout = Layout((S1, AERIAL), (Vector("metadata", ("x", "y"), "metres"),), 8)
    rng = np.random.default_rng(0)
    record = Record(
        {
            "s1": rng.integers(-99, 99, (8, 8, 2)).astype(np.int16),
            "aerial": rng.integers(0, 255, (8, 8, 5)).astype(np.uint8),
            "label": rng.integers(1, 9, (8, 8)).astype(np.uint8),
            "metadata": np.array([1.5, np.nan]),
        }
    )
    content = layout.serialiser()("an id", record)
    wanted = {name: (f.np_dtype, f.shape) for name, f in layout.features().items() if name in ("label", "metadata")}
    found = record_parser.arrays(content, wanted)
    assert found.keys() == {"label", "metadata"}
    np.testing.assert_array_equal(found["label"], record.parts["label"])
    np.testing.assert_array_equal(found["metadata"], record.parts["metadata"])
    assert not found["label"].flags.owndata
