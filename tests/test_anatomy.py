"""The pictures of the architectures are of the present code.

`make pictures` draws them anew, and writes the text that they are compared by; look at them, then commit.
"""

import pathlib
import sys

import pytest

DOCS = pathlib.Path(__file__).parent.parent / "docs"
sys.path.append(str(DOCS))  # where the scripts import each other from

import anatomy  # noqa: E402
import draw_models  # noqa: E402
import stages  # noqa: E402

COMMITTED = (DOCS / "images" / "models" / "anatomy.txt").read_text().split("\n\n")


@pytest.mark.parametrize("name", anatomy.NETWORKS)
def test_picture_shows_the_present_network(name):
    network = anatomy.network(name)
    (committed,) = (text for text in COMMITTED if text.startswith(f"{name} "))
    assert stages.text(name, network).strip() == committed.strip()
    # Refuses words that do not fit, as a change of the network may bring.
    assert draw_models.picture(name, network).startswith(b"\x89PNG")
    assert (DOCS / "images" / "models" / f"{name}.png").is_file()


def test_picture_of_fusion():
    assert draw_models.draw_fusion().startswith(b"\x89PNG")


def test_all_pictures_and_no_others_are_there():
    there = {path.stem for path in (DOCS / "images" / "models").glob("*.png")}
    assert there == {*anatomy.NETWORKS, "fusion"}
    assert len(COMMITTED) == len(anatomy.NETWORKS)
