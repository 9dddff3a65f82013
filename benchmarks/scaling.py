"""What four training steps need on TPU slices, as compiled: python benchmarks/scaling.py --output=DIR --page=FILE

Compiles each case of the list below for its topology, which takes minutes each and no TPU, and writes the page. What
the compiler said is kept in --output, a folder for one version of the code: stopped and started again it goes on with
the next case. With --compiled the page is of what is there, and nothing is compiled.
"""

import argparse
import dataclasses
import gzip
import importlib.metadata
import json
import pathlib
import time

import jax

from configs import dfc2020, pretrain
from data_pipelines.files import write_atomically
from lcjax import forecast, plan
from lcjax.parallel import topologies

CONFIGS = {
    "swin_unet": lambda: dfc2020.get_config("model=swin_unet"),
    "resnet50_unet": lambda: dfc2020.get_config("model=resnet50_unet"),
    "two_stream_swin": lambda: dfc2020.get_config("model=two_stream_swin"),
    "pre-training": lambda: pretrain.get_config(""),
}
POD = "v5e:16x16"
CHIPS = {POD: 256, "v5e:2x2": 4, "v6e:16x16": 256, "v5p:4x4x4": 64, "v5e:1x1": 1}
IMAGES, MANY = 16, 128  # of one chip


@dataclasses.dataclass(frozen=True)
class Case:
    """One program: a config, a topology and what is set."""

    config: str
    topology: str
    setting: forecast.Setting

    @property
    def name(self) -> str:
        """The name of its files."""
        setting, batch_size = self.setting, self.setting.images * CHIPS[self.topology]
        fields = (self.config, self.topology.replace(":", "_"), batch_size, f"fsdp{setting.fsdp}")
        return "-".join(map(str, fields)) + f"-in{setting.parts}" + ("-remat" if setting.remat else "")


def _all(topology: str, setting: forecast.Setting) -> list[Case]:
    return [Case(config, topology, setting) for config in CONFIGS]


# The most telling first, since all of them take hours.
CASES = [
    *_all(POD, forecast.Setting(IMAGES)),
    *_all(POD, forecast.Setting(MANY, remat=True)),
    *(case for topology in ("v5e:2x2", "v6e:16x16", "v5p:4x4x4") for case in _all(topology, forecast.Setting(IMAGES))),
    Case("swin_unet", POD, forecast.Setting(IMAGES, fsdp=16)),
    *_all("v5e:1x1", forecast.Setting(IMAGES)),
]


def compiled(case: Case, folder: pathlib.Path) -> None:
    """Puts what the compiler says of a case into the folder, unless it is there."""
    path = folder / f"{case.name}.json"
    if path.is_file():
        return
    program = forecast.compiled(CONFIGS[case.config](), case.setting, topologies.devices(case.topology))
    jax.clear_caches()  # of programs that are not needed again
    found = dataclasses.asdict(program)
    (folder / f"{case.name}.txt.gz").write_bytes(gzip.compress(found.pop("text").encode()))
    write_atomically(path, json.dumps(found, indent=1))


def read(case: Case, folder: pathlib.Path) -> dict | None:
    """The figures of a case that was compiled."""
    path = folder / f"{case.name}.json"
    if not path.is_file():
        return None
    text = gzip.decompress((folder / f"{case.name}.txt.gz").read_bytes()).decode()
    program = forecast.Program(**json.loads(path.read_text()), text=text)
    chip = topologies.CHIPS[case.topology.split(":")[0]]
    return forecast.figures(program, case.setting, CHIPS[case.topology], chip)
