"""`lcjax export`: a trained network as a program of arrays alone, for whoever has JAX and not lcjax."""

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Writes a trained network as StableHLO with its parameters: it runs wherever JAX does, without lcjax.

  lcjax export --workdir=runs/unet --output=exported/unet
  python exported/unet/load.py

One program for CPUs, NVIDIA GPUs and TPUs, and for batches and images of any size. It takes the integers that shards
and scenes hold and answers logits; the network of a pre-training run answers its embeddings.

Writes to --output, which must not be there or be empty:
  network.stablehlo  the program, as jax.export serialises it
  parameters.npz     what it is called with: float32 arrays by name
  load.py            loads both with jax and numpy; run by itself it tries the network
  README.md          what goes in and what comes out, bands and classes
  export.json        the same for programs
  card.json          the network's card, as in the workdir
  calibration.json   where the run is calibrated: the temperature of its probabilities
  parameters.safetensors   with --safetensors: the same arrays in that format, with the card in its metadata
  network.onnx             with --onnx: one image of the size of a tile, for runtimes without JAX (docs/export.md)
  LAYOUT.safetensors       with --layout=LAYOUT: by the names of another library, e.g. timm_swin, to go on with there
docs/export.md says more; `lcjax info weights` lists the layouts."""


_EXAMPLE = "lcjax export --workdir=runs/unet --output=exported/unet"


def define_flags(flags) -> None:
    """The flags of the verb."""
    flags.DEFINE_string("workdir", None, "Workdir of a training run.")
    flags.DEFINE_string("output", None, "Folder to write, which must not be there or be empty.")
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of the run.")
    flags.DEFINE_bool("safetensors", False, "Write the arrays as parameters.safetensors, too.")
    flags.DEFINE_bool("onnx", False, "Write the network as ONNX, too, if its answers agree (extra onnx).")
    flags.DEFINE_string("layout", "", "Write them by the names of this layout of weights, too: LAYOUT.safetensors.")


def run(flags) -> None:
    """Runs the verb."""
    if not flags.workdir or not flags.output:
        raise InputError(f"export needs --workdir and --output, e.g. {_EXAMPLE}")
    from lcjax.export import exporter

    folders = paths.given(flags.workdir, "--workdir"), paths.given(flags.output, "--output")
    exporter.write(*folders, flags.checkpoint, flags.safetensors, flags.layout, flags.onnx)
