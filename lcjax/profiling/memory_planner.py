"""`lcjax benchmark --plan`: which mesh, parts of a batch and remat let a batch fit on a topology.

Two compiles for each choice of config.remat give a line of memory over images a chip; what config.parallel.fsdp saves
of the state and what config.accumulate adds is arithmetic. What is proposed in the end has been compiled.
"""

import dataclasses
import math

import jax

from lcjax import tasks
from lcjax.engine import experiment as experiments
from lcjax.parallel import mesh as meshes
from lcjax.profiling import aot_compile
from lcjax.profiling.aot_compile import Setting

_TRIES = 3  # candidates that are compiled at most: each takes minutes


@dataclasses.dataclass(frozen=True)
class Line:
    """Bytes of a chip over the images that it has at once: start + slope * images."""

    start: float
    slope: float

    @classmethod
    def through(cls, points: dict[int, int]) -> "Line":
        """The line through two points, images -> bytes."""
        (few, low), (many, high) = sorted(points.items())
        slope = (high - low) / (many - few)
        return cls(low - slope * few, slope)

    def at(self, images: float) -> float:
        """Bytes for so many images."""
        return self.start + self.slope * images

    def most(self, capacity: float) -> int:
        """The most images that so many bytes hold."""
        return max(0, math.floor((capacity - self.start) / self.slope)) if self.slope > 0 else 0


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What lies on one chip, bytes, by arithmetic.

    Attributes:
      state: parameters, statistics and moments, by fsdp.
      gradient: of all trainable parameters: what the sum over parts takes beside.
      image: of one image as it comes from the host.
    """

    state: dict[int, int]
    gradient: int
    image: float


def sizes(config, devices: list[jax.Device]) -> Sizes:
    """The sizes for each fsdp that is a power of 4 and divides the devices."""
    experiment = experiments.build_to_measure(config, devices=devices)
    count = len(devices)
    state, gradient, image = {}, 0, 0.0
    for fsdp in (4**power for power in range(6) if count % 4**power == 0):
        mesh = meshes.make_mesh(-1, fsdp, count, 1, devices)
        leaves, batch = experiment.shapes(mesh)
        state[fsdp] = experiments.local_bytes(leaves)
        if fsdp == 1:
            gradient = experiments.local_bytes(leaves.trainable)
            image = experiments.local_bytes(batch) / (config.batch_size // count)
    return Sizes(state, gradient, image)


def memory(line: Line, known: Sizes, setting: Setting) -> float:
    """Bytes that a setting should take on a chip, by the line of its remat at fsdp=1 without parts."""
    at_once = setting.images / setting.parts
    # Other images wait as they came, and once more in the order of the parts.
    waiting = (2 * known.image * (setting.images - at_once) + known.gradient) * (setting.parts > 1)
    return line.at(at_once) + waiting + known.state[setting.fsdp] - known.state[1]


def plan(config, topology: str) -> dict:
    """What fits, and a setting for config.batch_size that was compiled.

    Raises InputError for a topology, mesh or batch that does not go together.
    """
    devices, chip = aot_compile.chosen(config, topology)
    count = len(devices)
    images = config.batch_size // count
    known = sizes(config, devices)
    seen: dict[Setting, dict] = {}

    def compile_all(settings: list[Setting]) -> None:
        fresh = [(setting, devices) for setting in settings if setting not in seen]
        for program, setting, _ in aot_compile.compiled_in_turn(config, topology, fresh, len(seen)):
            seen[setting] = aot_compile.figures(program, setting, count, chip)

    asked = [Setting(images, remat=remat) for remat in (False, True)]
    # The second point lies beyond, or below where there is nothing more to be had.
    compile_all(asked)
    compile_all([dataclasses.replace(one, images=_second(one.images, seen[one]["fits"])) for one in asked])
    lines = {}
    for remat in (False, True):
        points = {
            setting.images: found["memory_bytes"]
            for setting, found in seen.items()
            if setting.remat == remat and "memory_bytes" in found
        }
        if len(points) == 2:
            lines[remat] = Line.through(points)

    choices = []
    for remat, line in lines.items():
        for fsdp, state in known.state.items():
            most = Line(line.start + state - known.state[1], line.slope).most(chip.memory)
            setting = Setting(images, fsdp, remat=remat)
            choices.append(
                {
                    "remat": remat,
                    "fsdp": fsdp,
                    "memory_bytes": round(memory(line, known, setting)),
                    "fits": memory(line, known, setting) <= chip.memory,
                    "largest_batch_size": most * count,
                }
            )

    found = aot_compile.about(config, topology, count) | {"memory_capacity": chip.memory, "choices": choices}
    found["compiled"] = [_named(setting, count) | figures for setting, figures in seen.items()]
    fitting = [setting for setting in asked if seen[setting]["fits"]]
    for setting in [*fitting, *candidates(config, lines, known, images, chip.memory)][:_TRIES]:
        compile_all([setting])
        if seen[setting]["fits"]:
            found["plan"] = _named(setting, count) | {"flags": flags(setting)} | seen[setting]
            break
    return found


def _second(images: int, fits: bool) -> int:
    return images * 2 if fits or images == 1 else images // 2


def candidates(config, lines: dict[bool, Line], known: Sizes, images: int, capacity: int) -> list[Setting]:
    """Returns the settings that should fit, the best first.

    One part learns the same with remat or without; more than one need not where batches are normalised. Spreading the
    state comes last, because gathering it costs time in every step.
    """
    whole = not tasks.named(config.task).splits_batches
    parts = [1] if whole else [n for n in range(1, images + 1) if images % n == 0]
    settings = [
        Setting(images, fsdp, count, remat) for fsdp in known.state for count in parts for remat in sorted(lines)
    ]
    return [setting for setting in settings if memory(lines[setting.remat], known, setting) <= capacity]


def flags(setting: Setting) -> str:
    """How a setting is asked for."""
    return f"--config.parallel.fsdp={setting.fsdp} --config.accumulate={setting.parts} --config.remat={setting.remat}"


def _named(setting: Setting, chips: int) -> dict:
    return {
        "batch_size": setting.images * chips,
        "fsdp": setting.fsdp,
        "accumulate": setting.parts,
        "remat": setting.remat,
    }


def text(found: dict) -> str:
    """The plan, to read."""
    capacity = found["memory_capacity"] / 1e9
    lines = [
        f"{found['model']}, {found['task']}, {found['batch_size']} images on {found['chips']} chips of "
        f"{found['topology']}: {aot_compile.KIND}",
        f"memory of one chip, of {capacity:.2f} GB, by a line through two compiles for each remat:",
        f"{'remat':<6} {'fsdp':>5} {'GB':>7}  {'fits':<5} largest batch",
    ]
    for row in found["choices"]:
        lines.append(
            f"{row['remat']!s:<6} {row['fsdp']:>5} {row['memory_bytes'] / 1e9:>7.2f}  "
            f"{'yes' if row['fits'] else 'no':<5} {row['largest_batch_size']:,}"
        )
    chosen = found.get("plan")
    if not chosen:
        return "\n".join([*lines, "of what was compiled nothing fits: take a smaller batch, or more chips"])
    return "\n".join(
        [*lines, f"take {chosen['flags']}", f"compiled: {chosen['memory_bytes'] / 1e9:.2f} GB a chip, {_bound(chosen)}"]
    )


def _bound(chosen: dict) -> str:
    return f"{chosen['bound_ms']:.1f} ms at least, by {chosen['binding_term']}"
