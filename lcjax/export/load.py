"""Loads a network that `lcjax export` wrote. Needs jax, numpy and flatbuffers, but not lcjax.

A copy of this file, named load.py, lies beside each exported network:

  python load.py                      tries the network on zeros, and prints what it takes and what it returns

  from load import load
  network = load("exported/unet")     the folder
  logits = network({"s2": image})     stored integers by sensor; see README.md in the folder
"""

import json
import pathlib
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax import export

NETWORK = "network.stablehlo"
PARAMETERS = "parameters.npz"
DESCRIPTION = "export.json"
CALIBRATION = "calibration.json"
CALIBRATION_VERSION = 2  # its schema_version
SCHEMA_VERSION = 1  # of export.json


def load(folder: str | pathlib.Path) -> Callable[[Mapping[str, np.ndarray]], jax.Array]:
    """Loads the network as a function of its inputs by name, on JAX's default device.

    The function is compiled for each new size of batch and image, and may be called within jax.jit.

    Args:
      folder: that `lcjax export` wrote.

    Returns:
      {input name: array} -> logits or embeddings.

    Raises:
      ValueError: another version of lcjax wrote the folder in another format.
    """
    folder = pathlib.Path(folder)
    read_description(folder)
    network = export.deserialize(bytearray((folder / NETWORK).read_bytes()))
    with np.load(folder / PARAMETERS, allow_pickle=False) as file:
        parameters = jax.device_put({path: file[path] for path in file.files})
    call = jax.jit(network.call)
    return lambda inputs: call(parameters, dict(inputs))


def temperature(folder: str | pathlib.Path) -> float:
    """Returns the number that logits are divided by before their softmax; 1 where the network is not calibrated.

    Raises:
      ValueError: calibration.json is of another network, or is not what lcjax wrote.
    """
    folder = pathlib.Path(folder)
    path = folder / CALIBRATION
    if not path.exists():
        return 1.0
    fields = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict) or fields.get("schema_version") != CALIBRATION_VERSION:
        raise ValueError(f"{path}: not of schema_version {CALIBRATION_VERSION}, which this load.py reads")
    try:
        fitted = fields["checkpoints"].get(read_description(folder)["network"])
        found = None if fitted is None else float(fitted["temperature"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not what lcjax wrote ({type(error).__name__}: {error})") from error
    if found is None:
        raise ValueError(f"{path}: is of another network than the one that lies beside it")
    if not 0 < found < float("inf"):
        raise ValueError(f"{path}: temperature {found}, expected a number above 0")
    return found


def read_description(folder: pathlib.Path) -> dict:
    """Reads export.json.

    Raises:
      ValueError: it is not JSON, or of another schema_version.
    """
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    version = description.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{folder / DESCRIPTION}: schema_version {version}, and this load.py reads {SCHEMA_VERSION}")
    return description


def main() -> None:
    """Tries the network that lies beside this file on zeros."""
    folder = pathlib.Path(__file__).parent
    description = read_description(folder)
    inputs = {name: np.zeros(each["example"], each["dtype"]) for name, each in description["inputs"].items()}
    answer = load(folder)(inputs)
    for name, array in inputs.items():
        print(f"takes {name}: {array.dtype} {array.shape}")
    print(f"answers {description['output']['what']}: {answer.dtype} {answer.shape}, on {jax.default_backend()}")


if __name__ == "__main__":
    main()
