import json
from typing import Any

import pytest

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "some.json"
    schema_version.write_json(path, {"names": ["é"], "count": 3}, 4)
    assert json.loads(path.read_text(encoding="utf-8")) == {"schema_version": 4, "names": ["é"], "count": 3}
    assert schema_version.read_json(path, dict[str, Any], 4) == {"names": ["é"], "count": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 5}', "schema_version 5, and this lcjax reads 4; use the newer lcjax that wrote it"),
        ('{"schema_version": 3}', "schema_version 3; expected 4; begin anew"),
        ('{"schema_version": true}', "schema_version True; expected 4; begin anew"),
        ('{"schema_version": "4"}', "schema_version '4'; expected 4; begin anew"),
        ("{}", "no schema_version; expected 4; begin anew"),
        ("[4]", "no schema_version; expected 4; begin anew"),
        ('{"schema_version":', r"cannot be read as JSON \(Expecting value.*\); begin anew"),
        (
            '{"schema_version": 4, "x": ' + "[" * 60 + "]" * 60 + "}",
            r"cannot be read as JSON \(lists .* 50 deep\); begin anew",
        ),
        ("\udcff", r"cannot be read as JSON \(.*utf-8.*\); begin anew"),
    ],
)
def test_everything_else_is_refused(tmp_path, text, message):
    path = tmp_path / "some.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=rf"some\.json: {message}"):
        schema_version.read_json(path, dict[str, Any], 4, "begin anew")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        InputError, match=r"some\.json: no such file; expected a JSON file of schema_version 4; begin anew"
    ):
        schema_version.read_json(tmp_path / "some.json", dict[str, Any], 4, "begin anew")
