"""What an evaluation seals is read back: what its own reader refuses does not pass for done."""

import json

import pytest
from finished import make_run

from data_pipelines.schema.errors import InputError
from lcjax.runs import evaluations


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"class_ids": [1]}, "8 classes in class_set, but 1 class_ids"), ({"records": "two"}, "records")],
)
def test_what_cannot_be_read_is_refused_by_who_writes_it(tmp_path, wrong, says):
    folder = make_run(tmp_path / "a", 0, samples=False) / "evaluation" / "test"
    fields = json.loads((folder / evaluations.METRICS).read_text())
    with evaluations.sealed(folder):
        (folder / evaluations.METRICS).write_text(json.dumps(fields))
    assert evaluations.read(folder, of_classes=True)["scores"] == fields["scores"]
    with pytest.raises(InputError, match=says), evaluations.sealed(folder):
        (folder / evaluations.METRICS).write_text(json.dumps(fields | wrong))
