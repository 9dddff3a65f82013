"""The notebook for newcomers runs from its first cell to its last, and shows a map."""

import pathlib
import shutil

import nbclient
import nbformat
import rasterio

NOTEBOOK = pathlib.Path(__file__).parents[1] / "examples" / "quickstart.ipynb"
SHORTER = {'fusion="s2", tiny=True': 'fusion="s2", tiny=True, total="4 steps"', "30 steps": "2 steps"}


def test_the_notebook_runs_and_shows_a_map(sample, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND")  # a notebook shows its pictures in itself
    assert NOTEBOOK.stat().st_size < 300_000  # with what it printed and showed
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for written, shorter in SHORTER.items():
        (cell,) = (cell for cell in notebook.cells if written in cell.source)
        cell.source = cell.source.replace(written, shorter)
    shutil.copytree(sample, tmp_path / "quickstart" / "sample")  # the cell that makes it finds it there
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", ()) for output in outputs) == 1
    with rasterio.open(tmp_path / "quickstart" / "map.tif") as file:
        assert file.shape == (300, 300) and file.colormap(1)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "overall accuracy" in printed and "IoU Forest" in printed
