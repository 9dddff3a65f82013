"""What a hostile input is: the verb that is given it, and what must come of that."""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class World:
    """What the inputs are made from, all of it well: made once (world.py), never written to.

    Attributes:
      folder: holds source (images, masks, CSVs), data (prepared), run (a workdir), maps, export, scene.tif,
        one_row: a data set of the first row of the CSV alone, labelled.tif: a map of three classes, and sample: points
        of it with labels.
      port: of a server on this machine that counts who asks it.
      name: of the input, in the address.
    """

    folder: pathlib.Path
    port: int
    name: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.name}/stranger.tif"


@dataclasses.dataclass
class Place:
    """The folders of one input.

    Attributes:
      given: what the stranger gave; must not change.
      target: where the verb may write.
      other: somebody else's files: must not change.
    """

    root: pathlib.Path
    world: World
    rng: np.random.Generator

    def __post_init__(self):
        self.given, self.target, self.other = (self.root / name for name in ("given", "target", "other"))
        for folder in (self.given, self.target, self.other, self.root / "home"):
            folder.mkdir(parents=True)
        (self.other / "keep.py").write_text("kept = True\n")

    def copy(self, name: str, where: pathlib.Path | None = None) -> pathlib.Path:
        """A copy of a part of the world, in `given` or another folder."""
        source, to = self.world.folder / name, (where or self.given) / pathlib.Path(name).name
        shutil.copytree(source, to) if source.is_dir() else shutil.copy(source, to)
        return to

    def prepare(self, source: pathlib.Path, dataset: str = "rasters/x", *more: str) -> list[str]:
        return [
            "prepare",
            f"--dataset={dataset}",
            f"--source={source}",
            f"--data_dir={self.target}",
            "--workers=1",
            *more,
        ]

    def predict(self, scene: pathlib.Path | str, run: pathlib.Path | None = None) -> list[str]:
        workdir = run or self.world.folder / "run"
        return [
            "predict",
            f"--workdir={workdir}",
            f"--scene={scene}",
            f"--output={self.target}/map.tif",
            "--bands=image",
        ]


@dataclasses.dataclass(frozen=True)
class Asked:
    """A command, and what must come of it.

    Attributes:
      command: words after `lcjax`.
      names: the line of a refusal holds one of these: the file, as it is called.
      must: "refuse"; "accept", where the input is harmless; "either", where it depends on what was hit, and an
        acceptance says nothing wrong.
      said: text that an acceptance must say; empty where there is nothing to say.
      same: the data set that an acceptance makes, and the one that it must equal in every byte; None where the data
        sets are not compared.
    """

    command: list[str]
    names: tuple[str, ...]
    must: str = "refuse"
    said: str = ""
    same: tuple[pathlib.Path, pathlib.Path] | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """One hostile input: `make` writes it into a place."""

    kind: str
    make: Callable[[Place], Asked]
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}"


def seeded(kind: str, make: Callable[[Place], Asked], seeds: int) -> Iterable[Case]:
    """The same kind with other random numbers."""
    return [Case(kind, make, seed) for seed in range(seeds)]


def every() -> list[Case]:
    """The whole corpus, in a fixed order."""
    import of_archives
    import of_assess
    import of_files
    import of_json
    import of_programs
    import of_rasters
    import of_sizes
    import of_tables
    import of_vectors
    import of_weights

    modules = (
        of_programs,
        of_rasters,
        of_archives,
        of_tables,
        of_json,
        of_files,
        of_sizes,
        of_weights,
        of_assess,
        of_vectors,
    )
    return [case for module in modules for case in module.cases()]


def sample(cases: list[Case], count: int) -> list[Case]:
    """Some of the corpus, evenly over its kinds: first one of each, then, evenly, some more or fewer."""
    firsts = [case for case in cases if case.seed == 0]
    chosen = firsts if len(firsts) >= count else cases
    return [chosen[i] for i in np.unique(np.linspace(0, len(chosen) - 1, count).astype(int))]
