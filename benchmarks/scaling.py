"""What four training steps need on TPU pods, as compiled: python benchmarks/scaling.py --output=DIR --page=docs/scaling.md

Compiles each case of the list below for its topology, which takes minutes each and no TPU, and writes the page. What
the compiler said is kept in --output, a folder for one version of the code: stopped and started again it goes on with
the next case.
"""

import argparse
import dataclasses
import gzip
import json
import pathlib
import time

import jax

from configs import dfc2020, pretrain
from data_pipelines.files import write_atomically
from lcjax import forecast, trial
from lcjax.parallel import mesh as meshes
from lcjax.parallel import topologies

CONFIGS = {
    "swin_unet": lambda: dfc2020.get_config("model=swin_unet"),
    "resnet50_unet": lambda: dfc2020.get_config("model=resnet50_unet"),
    "two_stream_swin": lambda: dfc2020.get_config("model=two_stream_swin"),
    "pre-training": lambda: pretrain.get_config(""),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One program: a config, a topology with its number of chips, and what is set."""

    config: str
    topology: str
    batch_size: int
    remat: bool = False
    fsdp: int = 1
    accumulate: int = 1

    @property
    def name(self) -> str:
        """The name of its files."""
        fields = (self.config, self.topology.replace(":", "_"), self.batch_size, f"fsdp{self.fsdp}")
        return "-".join(map(str, fields)) + f"-in{self.accumulate}" + ("-remat" if self.remat else "")


# The most telling first, since all of them take hours. 16 images a chip, where nothing else is said.
CASES = [
    *(Case(config, "v5e:16x16", 4096) for config in CONFIGS),
    *(Case(config, "v5e:16x16", 32768, remat=True) for config in CONFIGS),
    *(Case(config, "v5e:2x2", 64) for config in CONFIGS),
    *(Case(config, "v6e:16x16", 4096) for config in CONFIGS),
    *(Case(config, "v5p:4x4x4", 1024) for config in CONFIGS),
    Case("swin_unet", "v5e:16x16", 4096, fsdp=16),
    *(Case(config, "v5e:1x1", 16) for config in CONFIGS),
]


def compiled(case: Case, folder: pathlib.Path) -> dict:
    """What the compiler says of a case, from the folder where it has said so before."""
    path = folder / f"{case.name}.json"
    if not path.is_file():
        config = CONFIGS[case.config]()
        config.update({"batch_size": case.batch_size, "remat": case.remat, "accumulate": case.accumulate})
        devices = topologies.devices(case.topology)
        mesh = meshes.make(-1, case.fsdp, case.batch_size, case.accumulate, devices)
        found = dataclasses.asdict(forecast.compiled(trial.make(config), mesh))
        jax.clear_caches()  # of programs that are not needed again
        (folder / f"{case.name}.txt.gz").write_bytes(gzip.compress(found.pop("text").encode()))
        write_atomically(path, json.dumps(found, indent=1))
    return json.loads(path.read_text())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(CASES, 1):
        print(f"{time.strftime('%H:%M')} {number}/{len(CASES)} {case.name}", flush=True)
        found = compiled(case, options.output)
        print(f"  {found['seconds']:.0f} s, {found['memory']} {found['refusal']}", flush=True)


if __name__ == "__main__":
    main()
