"""CSVs are read as spreadsheets and people write them, or refused with file and line."""

import csv
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.schema import csv_rows, limits
from data_pipelines.schema.errors import InputError

COLUMNS = ("image", "mask")
ROWS = [{"image": "a, b.tif", "mask": "m 1.tif"}, {"image": "c.tif", "mask": ""}]
PLAIN = b'image,mask\n"a, b.tif",m 1.tif\nc.tif,\n'


def read(path, content):
    path.write_bytes(content)
    return [row for _, row in csv_rows.read(path, COLUMNS[:1], "image,mask")]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + PLAIN,
        b"\n , \n" + PLAIN + b",,\n\n",
        b'image;mask\n"a, b.tif";m 1.tif\nc.tif;\n',
        b"IMAGE ;Mask\n a, b.tif ;m 1.tif\nc.tif;\n",
        b"image\tmask\na, b.tif\tm 1.tif\nc.tif\t\n",
        b'"image", "mask"\n"a, b.tif", "m 1.tif"\n"c.tif"\n',
    ],
)
def test_each_spelling_of_a_table_is_the_same_table(tmp_path, content):
    assert read(tmp_path / "list.csv", content) == ROWS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "list.csv: empty; expected a header image,mask and a row"),
        (b"image,mask\n", "a header and no row"),
        (b"picture,mask\na,b\n", "line 1: no column image in the header picture,mask; expected image,mask"),
        (b"image,mask,image\na,b,c\n", "line 1: two columns image in the header"),
        (b"image,mask\na,b,c\n", "line 2: 3 values, but 2 columns; put a value with a comma in quotes"),
        (PLAIN + b"\r\nIMAGE , mask,\n", "line 5: the header once more; take the line out"),
        (PLAIN.decode().encode("utf-16"), "UTF-16, the `Unicode text` of spreadsheets; save it as CSV in UTF-8"),
        (b"image,mask\na\xff,b\n", "not UTF-8 (byte 12); save it as CSV in UTF-8"),
        (b"image,mask\na\0,b\n", "line 2: holds NUL"),
        (b'image,mask\na,b\n"c,d\ne,f\n', "line 3: unexpected end of data; expected values with commas between them"),
        (b"image,mask\n" + b"a" * 200_000 + b",b\n", "line 2: field larger than field limit"),
        (b"image,mask\n" + b"a" * 20_000 + b",b\n", "line 2: a value of 20,000 letters; expected at most 10,000"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, content, words):
    with pytest.raises(InputError) as caught:
        read(tmp_path / "list.csv", content)
    assert words in str(caught.value) and "list.csv" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_what_is_no_file_is_named(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "large.csv").write_bytes(PLAIN)
    monkeypatch.setattr(limits, "TABLE_BYTES", 10)
    for name, words in (("pipe", "a pipe"), ("folder", "a folder"), ("large", "larger than"), ("no", "no such file")):
        with pytest.raises(InputError, match=f"{name}.csv: {words}"):
            csv_rows.read(tmp_path / f"{name}.csv", COLUMNS, "image,mask")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)] * 2), min_size=1),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_writer_of_csvs_writes_is_read(tmp_path_factory, rows, separator, end):
    wanted = [tuple(value.strip() for value in row) for row in rows]
    wanted = [row for row in wanted if any(row)]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *rows])
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.getvalue().encode())
    if not wanted:
        with pytest.raises(InputError, match="a header and no row"):
            csv_rows.read(path, COLUMNS, "image,mask")
        return
    assert [tuple(row.values()) for _, row in csv_rows.read(path, COLUMNS, "image,mask")] == wanted
