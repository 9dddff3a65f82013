"""`lcjax export`: writes a trained network as StableHLO with its arrays, to be used with JAX but without lcjax."""

import json
import logging
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import jax
import numpy as np
from flax import nnx
from jax import export as jax_export

from data_pipelines.schema import locks, paths, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import whole_folder, write_atomically
from data_pipelines.schema.typed_json import Colour, Count, LabelId, Name, Tile
from lcjax import tasks
from lcjax.engine import restore
from lcjax.export import load, onnx_format, weights
from lcjax.models import params
from lcjax.ops import augment
from lcjax.parallel import devices
from lcjax.runs import calibration as calibrations
from lcjax.runs import evaluations, workdir
from lcjax.runs import model_card as cards
from lcjax.runs.calibration import Calibration
from lcjax.tasks import vectors
from lcjax.version import __version__

_log = logging.getLogger(__name__)

PLATFORMS = ("cpu", "cuda", "tpu")
_README = "README.md"


def write(
    folder: pathlib.Path,
    output: pathlib.Path,
    kind: str = "best",
    safetensors: bool = False,
    layout: str = "",
    onnx: bool = False,
) -> None:
    """Exports the network of a workdir, unless the folder already holds it.

    Args:
      folder: the workdir.
      output: folder to write.
      kind: of the checkpoint, "best" or "last".
      safetensors: whether to write its arrays as .safetensors, too.
      layout: a name in lcjax.weights.layouts: to write them by the names of that library, too; "" for none.
      onnx: whether to write the network as ONNX, too.

    Raises:
      InputError: there is no such network or layout, it cannot be written as ONNX, or `output` holds something else.
    """
    asked = weights.wanted(safetensors, layout)
    if onnx:
        onnx_format.check()
    output = paths.given(output, "output")
    whole = output.absolute()
    # Beside the folder, which gets its name when it is complete.
    lock = whole.with_name(f".{whole.name}.lock")
    with locks.held(lock, f"--output={output}", doing="exporting to", instead="choose another folder"):
        _write(folder, output, kind, asked, onnx)


def _write(folder: pathlib.Path, output: pathlib.Path, kind: str, asked: weights.Wanted, onnx: bool) -> None:
    existing = _existing(output)
    trained = restore.restore(folder, kind)
    fitted = _calibration(trained, folder, kind)
    beside = weights.files(trained, asked, str(folder))
    origin = {
        "lcjax": __version__,
        "jax": jax.__version__,
        "network": trained.fingerprint,
        "checkpoint": {"kind": kind, "step": trained.step},
    }
    if existing is not None:
        if {key: existing.get(key) for key in origin} != origin:
            raise InputError(
                f"--output={output}: holds another network, or one that other versions exported; choose another folder "
                "or delete it"
            )
        missing = {name: one for name, one in beside.items() if not (output / name).exists()}
        weights.write(output, missing)
        programs = [onnx_format.FILE] if onnx and not (output / onnx_format.FILE).exists() else []
        for name in programs:
            write_atomically(output / name, _as_onnx(trained, str(folder)))
        added = [
            *missing,
            *programs,
            *([calibrations.FILE] if _add_calibration(output, trained.fingerprint, fitted) else []),
        ]
        done = f"added {', '.join(added)}" if added else "nothing to do"
        _log.info("%s: already holds this network; %s", output, done)
        return
    _log.info("%s: traced %s", folder, devices.where())
    program = trace(trained.task, trained.config, trained.card, trained.template)
    description = origin | {"run": workdir.name_of(folder)} | _description(trained, program)
    with whole_folder(output) as draft:
        (draft / load.NETWORK).write_bytes(program.serialize())
        arrays = jax.device_get(trained.parameters | trained.statistics)
        np.savez(draft / load.PARAMETERS, **arrays)
        weights.write(draft, beside)
        if onnx:
            write_atomically(draft / onnx_format.FILE, _as_onnx(trained, str(folder)))
        (draft / "load.py").write_text(pathlib.Path(load.__file__).read_text(encoding="utf-8"), encoding="utf-8")
        stamped = schema_version.stamp(description, load.SCHEMA_VERSION)
        (draft / load.DESCRIPTION).write_text(json.dumps(stamped, indent=1), encoding="utf-8")
        (draft / cards.FILE).write_text(trained.card.to_json(), encoding="utf-8")
        (draft / _README).write_text(_readme(description), encoding="utf-8")
        _add_calibration(draft, trained.fingerprint, fitted)
    megabytes = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    _log.info("%s: %s, for %s", output, _signature(description), ", ".join(PLATFORMS))
    _log.info("written: %s/ (%.1f MB); %s/%s says how to call it", output, megabytes, output, _README)


def _calibration(trained: restore.Trained, folder: pathlib.Path, kind: str) -> Calibration | None:
    """What was fitted to the network; None, and a word about it, where the file is of other checkpoints alone."""
    table = calibrations.read(folder)
    if table is None:
        return None
    if trained.fingerprint not in table:
        _log.info("%s: is of another checkpoint, and stays behind", folder / calibrations.FILE)
        return None
    return trained.calibration(table, folder, kind)


def _add_calibration(folder: pathlib.Path, fingerprint: str, fitted: Calibration | None) -> bool:
    """Writes what was fitted beside the network, and returns whether it was not there already."""
    if fitted is None or calibrations.read(folder) == {fingerprint: fitted}:
        return False
    calibrations.write(folder, fingerprint, fitted)
    return True


class _Class(TypedDict):
    """A class of the output: the id that maps hold."""

    id: LabelId
    name: Name
    colour: Colour


class _Exported(TypedDict):
    """What export.json holds."""

    lcjax: str
    jax: str
    network: str
    checkpoint: evaluations.Checkpoint
    run: str
    model: Name
    fusion: Name
    dataset: Name
    precision: str
    platforms: list[str]
    inputs: dict[str, Any]
    output: dict[str, Any]
    classes: list[_Class]
    tile: Tile
    window: Count


def _existing(output: pathlib.Path) -> dict | None:
    """Returns the fields of export.json in the folder, or None where the folder is new or empty."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    remedy = "choose a folder that is new or empty"
    if not (output / load.DESCRIPTION).is_file():
        raise InputError(f"--output={output}: is there and is no exported network; {remedy}")
    fields = schema_version.read_json(output / load.DESCRIPTION, _Exported, load.SCHEMA_VERSION, remedy)
    return dict(fields)


def check(task: tasks.Task, config, card: cards.Card, template: params.Template) -> None:
    """Checks that a network could be exported.

    Traces the program with symbolic sizes of batch and image, which fails where the network depends on a size. Lowers
    it for no platform, needs no values and leaves nothing behind.

    Raises:
      InputError: the network cannot be exported; one line.
    """
    program, shapes = _program(task, config, card, template)
    _attempt(config, lambda: program.trace(*shapes))


def trace(
    task: tasks.Task, config, card: cards.Card, template: params.Template, platforms: Sequence[str] = PLATFORMS
) -> jax_export.Exported:
    """Traces and lowers the network to a program, from shapes alone.

    It takes parameters and statistics by path, in one dictionary, and {sensor: stored integers (b, h, w, bands)}, with
    config.metadata also the vectors of the data set by name: (b, numbers) float32, NaN where not known. It answers
    logits (b, h, w, classes) float32; of a classification (b, classes), of pre-training (b, channels), what the task
    embeds. With config.resize h and w must be multiples of which whole pixels are made, and the logits are of the
    smaller image, as the network sees it.

    Raises:
      InputError: JAX cannot export it.
    """
    program, shapes = _program(task, config, card, template)
    frames = jax.config.values["jax_traceback_in_locations_limit"]
    # Otherwise the program would hold the paths of source files on this machine.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        return _attempt(config, lambda: jax_export.export(program, platforms=platforms)(*shapes))
    finally:
        jax.config.update("jax_traceback_in_locations_limit", frames)


def _attempt(config, attempt: Callable):
    try:
        return attempt()
    # JAX has many error types for programs that it cannot export; the cause holds the details.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"config.model.name={config.model.name!r}: this network cannot be exported for images of any size "
            f"({type(error).__name__}: {reason})"
        ) from error


def _program(task: tasks.Task, config, card: cards.Card, template: params.Template) -> tuple[Any, tuple]:
    """Returns the jitted function to export, and the shapes of its arguments, symbolic in batch and image size."""
    of, _ = _blocks(card, config)
    b, h, w = jax_export.symbolic_shape(f"b, {of}*h, {of}*w")
    inputs = {s.name: jax.ShapeDtypeStruct((b, h, w, len(s.bands)), s.dtype) for s in card.sensors}
    inputs |= {v.name: jax.ShapeDtypeStruct((b, len(v.numbers)), np.float32) for v in task.vectors}
    return jax.jit(_network(task, config, card, template)), (template.parameters | template.statistics, inputs)


def _network(task: tasks.Task, config, card: cards.Card, template: params.Template) -> Callable[[dict, dict], Any]:
    """Returns the function (values by path, inputs by name) -> logits or embeddings."""

    def network(values: dict, inputs: dict) -> jax.Array:
        own = [{path: values[path] for path in flat} for flat in (template.parameters, template.statistics)]
        model = template.merge(*own, train=False)
        return _logits(task, model, inputs, card, config) if _has_classes(task) else task.embed(model, inputs)

    return network


def _as_onnx(trained: restore.Trained, where: str) -> bytes:
    """Returns the bytes of network.onnx: one image of the size of a tile, computed in float32.

    Runtimes for CPUs have no bfloat16. Raises InputError where it cannot be written.
    """
    config, card = trained.config.copy_and_resolve_references(), trained.card
    config.precision = "f32"
    task = tasks.make(config, card)
    network = _network(task, config, card, params.Template(task.build))
    values = trained.parameters | trained.statistics
    examples = onnx_format.drawn(card.sensors, task.vectors, card.tile)
    return onnx_format.converted(lambda inputs: network(values, inputs), examples, where, _answer(task))


def _answer(task: tasks.Task) -> str:
    """What the network answers."""
    return "logits" if _has_classes(task) else "embeddings"


def _has_classes(task: tasks.Task) -> bool:
    return task.can_map or task.can_classify


def _logits(task: tasks.Task, model: nnx.Module, inputs: dict, card: cards.Card, config) -> jax.Array:
    """Logits of stored integers, of pixels or of whole images: what task.probabilities makes probabilities of."""
    of, to = _blocks(card, config)
    images = {s.name: _resize_blocks(augment.scale(inputs[s.name], s.scaling), of, to) for s in card.sensors}
    return model(images | vectors.encode(task.vectors, inputs))


def _blocks(card: cards.Card, config) -> tuple[int, int]:
    """Returns the sides in pixels of the smallest block that config.resize maps onto whole pixels, and of its image."""
    kept = config.resize or card.tile
    common = math.gcd(card.tile, kept)
    return card.tile // common, kept // common


def _resize_blocks(image_BxHxWxC: jax.Array, of: int, to: int) -> jax.Array:
    """Resizes each block of `of` x `of` pixels to `to` x `to`, as augment.resize_images does with the whole image."""
    if of == to:
        return image_BxHxWxC
    b, h, w, c = image_BxHxWxC.shape
    blocks = image_BxHxWxC.reshape(b, h // of, of, w // of, of, c)
    along = jax.vmap(lambda block: augment.resize_images(block, to, to), 1, 1)
    return jax.vmap(along, 3, 3)(blocks).reshape(b, h // of * to, w // of * to, c)


def _description(trained: restore.Trained, program: jax_export.Exported) -> dict:
    """Returns the fields of export.json: the network, the program's inputs and its output."""
    card, config = trained.card, trained.config
    (_, given), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
    (answer,) = program.out_avals
    has_classes = _has_classes(trained.task)
    said = {sensor.name: (sensor.title, sensor.bands, sensor.meaning) for sensor in card.sensors}
    said |= {v.name: (v.title[:1].upper() + v.title[1:], v.numbers, v.meaning) for v in trained.task.vectors}
    inputs = {}
    for name, (title, channels, meaning) in said.items():
        if name in given:
            shape, dtype = given[name].shape, given[name].dtype.name
            example = [1, *[card.tile] * (len(shape) - 2), shape[-1]]
            inputs[name] = {"dtype": dtype, "shape": list(map(str, shape)), "example": example}
            inputs[name] |= {"title": title, "channels": list(channels), "meaning": meaning}
    return {
        "model": card.model,
        "fusion": card.fusion,
        "dataset": card.dataset,
        "precision": config.precision,
        "platforms": list(program.platforms),
        "inputs": inputs,
        "output": {
            "what": _answer(trained.task),
            "dtype": answer.dtype.name,
            "shape": list(map(str, answer.shape)),
        }
        | ({"labels": "single" if trained.task.single else "multi"} if trained.task.can_classify else {}),
        "classes": [{"id": c.value, "name": c.name, "colour": c.colour} for c in card.legend.scored if has_classes],
        "tile": card.tile,
        "window": config.window if trained.task.can_map else config.crop,
    }


def _shape(each: dict) -> str:
    return f"{each['dtype']} ({', '.join(each['shape'])})"


def _signature(description: dict) -> str:
    """Formats inputs and output of the program as one line."""
    inputs = ", ".join(f"{name} {_shape(each)}" for name, each in description["inputs"].items())
    return f"{inputs} -> {description['output']['what']} {_shape(description['output'])}"


def _readme(description: dict) -> str:
    """Returns the text of README.md in the folder."""
    output, checkpoint = description["output"], description["checkpoint"]
    rows = [
        f"| `{name}` | {each['dtype']} | ({', '.join(each['shape'])}) | "
        f"{each['title']}: {', '.join(each['channels'])}; {each['meaning']} |"
        for name, each in description["inputs"].items()
    ]
    arguments = ", ".join(f'"{name}": {name}' for name in description["inputs"])
    of_patches = _about_patches if "labels" in output else _about_logits
    about = of_patches if output["what"] == "logits" else _about_embeddings
    return f"""# {description["run"]}: {description["model"]} for {description["dataset"]}

A network that `lcjax export` wrote, from the {checkpoint["kind"]} checkpoint (step {checkpoint["step"]}).
`{load.NETWORK}` is the program, StableHLO as `jax.export` serialises it; `{load.PARAMETERS}` holds the arrays
that it is called with, by name. It runs on {", ".join(description["platforms"])}, and needs jax, numpy and flatbuffers.

```python
from load import load

network = load(".")
{output["what"]} = network({{{arguments}}})
```

`python load.py` tries it on zeros.

## What goes in

| name | type | shape | what |
|---|---|---|---|
{chr(10).join(rows)}

b, h and w are any numbers above 0, the same for all inputs; the program is compiled once for each size that it meets.
Numbers go in as they are stored: scaling, and padding to what the network needs, are in the program.

## What comes out

{about(description)}
## Versions

lcjax {description["lcjax"]}, jax {description["jax"]}. JAX reads what it has exported for six months at least
(https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees). `{cards.FILE}` holds scaling, legend and
splits in full.
"""


def _about_logits(description: dict) -> str:
    window, tile = description["window"], description["tile"]
    shown = (
        f"windows of {window} pixels that share a quarter with their neighbours, and blends their probabilities"
        if window
        else f"tiles of {tile} pixels"
    )
    return f"""Logits, {_shape(description["output"])}. Their softmax over the last axis are probabilities, and the
largest tells the class:

```python
ids = np.array({[each["id"] for each in description["classes"]]}, np.uint8)
label = ids[np.argmax(logits, axis=-1)]
```

{_classes(description)}

lcjax itself shows it {shown}. A scene that memory does not hold is cut likewise.

Where `{calibrations.FILE}` lies here, the logits divided by its temperature give calibrated probabilities, and the
class stays what it is:

```python
from load import temperature

probabilities = jax.nn.softmax(logits / temperature("."), axis=-1)
```
"""


def _classes(description: dict) -> str:
    rows = [
        f"| {place} | {each['id']} | {each['name']} | {each['colour']} |"
        for place, each in enumerate(description["classes"])
    ]
    return "\n".join(["| place | id | class | colour |", "|---|---|---|---|", *rows])


def _about_patches(description: dict) -> str:
    how = {
        "single": "Their softmax over the last axis are probabilities, and the largest tells the class of an image.",
        "multi": "The logistic function of each is a probability, and an image has all classes above one half.",
    }[description["output"]["labels"]]
    return f"""Logits of whole images, {_shape(description["output"])}. {how}

{_classes(description)}

lcjax itself shows it tiles of {description["tile"]} pixels.
"""


def _about_embeddings(description: dict) -> str:
    return f"""Embeddings, {_shape(description["output"])}: the last feature of each encoder, averaged over the image,
that of {" before that of ".join(description["inputs"])}. The projections of pre-training are left out. The network
learned from crops of {description["window"]} pixels.
"""
