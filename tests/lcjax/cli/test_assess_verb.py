"""The verb from a map to the page; its flags, and what it refuses in one line."""

import csv

import pytest
from classified import CLASSES, random_ids, write_map


@pytest.fixture
def land_map(tmp_path):
    return write_map(tmp_path / "map.tif", random_ids())


def test_from_the_map_to_the_page(command, land_map, tmp_path):
    code, out, err = command(
        "assess", f"--map={land_map}", "--sample", "--size=80", "--minimum=12", "--points=Water=14"
    )
    assert (code, err) == (0, [])
    folder = tmp_path / "map_sample"
    assert f"lcjax assess --labels={folder}/points.csv" in out
    rows = list(csv.DictReader((folder / "points.csv").read_text().splitlines()))
    names = [name for name, _ in CLASSES.values()]
    for at, row in enumerate(rows):
        row["label"] = names[at % 3]
    with open(folder / "points.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    code, out, err = command("assess", f"--labels={folder}/points.csv")
    assert (code, err) == (0, []) and "overall accuracy 0." in out
    written = folder / "assessment"
    assert sorted(path.name for path in written.iterdir()) == [
        "accuracy.csv", "assessment.json", "error_matrix.csv", "index.html",
    ]  # fmt: skip
    code, out, err = command("assess", f"--labels={folder}/points.gpkg", f"--output={tmp_path}/other")
    assert code == 2 and "0 of " in err[0] and "have a label" in err[0]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--sample, --labels: expected one of them"),
        (("--sample", "--labels=x.csv"), "--sample, --labels: expected one of them"),
        (("--sample",), "--map is missing"),
        (("--sample", "--map=absent.tif", "--size=9"), "--map=absent.tif: no such file; expected a map of class ids"),
        (("--sample", "--map=absent.tif"), "--size, --standard_error: expected one of them"),
        (
            ("--sample", "--map=x.tif", "--size=9", "--points=Water"),
            "--points: found 'Water'; expected each class once",
        ),
        (
            ("--sample", "--map=x.tif", "--size=9", "--points=A=2,A=3"),
            "--points: found 'A=3'; expected each class once",
        ),
        (("--sample", "--map=x.tif", "--size=9", "--points==3"), "--points: found '=3'; expected each class once"),
        (
            ("--sample", "--map=x.tif", "--size=9", "--users_accuracy==0.8"),
            "--users_accuracy: found '=0.8'; expected each class once",
        ),
        (("--sample", "--map=x.tif", "--size=9", "--bands=b1"), "--bands=b1: are of --scene, which is missing"),
        (("--sample", "--map=x.tif", "--size=9", "--on_training=exclude"), "--on_training=exclude: needs --training="),
        (("--sample", "--map=x.tif", "--users_accuracy=high"), "--users_accuracy: found 'high'"),
        (("--labels=absent.csv",), "there is no design.json; expected the design.json of the sample beside the labels"),
        (("--labels=absent.csv", "--size=3"), "--size: is of --sample"),
        (("--labels=absent.csv", "--seed=0"), "--seed: is of --sample"),
    ],
)
def test_what_it_refuses(command, arguments, says):
    code, _, err = command("assess", *arguments)
    assert code == 2 and len(err) == 1 and says in err[0]
