"""Loads a network that `lcjax export` wrote. Needs jax, numpy and flatbuffers, and nothing else of lcjax.

A copy of this file, named load.py, lies beside each exported network:

  python load.py                      tries the network on zeros, and says what it takes and what it answers

  from load import load
  network = load("exported/unet")     the folder
  logits = network({"s2": image})     stored integers by sensor; README.md in the folder says which
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


def load(folder: str | pathlib.Path) -> Callable[[Mapping[str, np.ndarray]], jax.Array]:
    """The network as a function of its inputs by name, on JAX's default device.

    It is compiled for each size of batch and image when it first meets it, and may be called within jax.jit.
    """
    folder = pathlib.Path(folder)
    network = export.deserialize(bytearray((folder / NETWORK).read_bytes()))
    with np.load(folder / PARAMETERS, allow_pickle=False) as file:
        parameters = jax.device_put({path: file[path] for path in file.files})
    call = jax.jit(network.call)
    return lambda inputs: call(parameters, dict(inputs))


def main() -> None:
    """Tries the network that lies beside this file."""
    folder = pathlib.Path(__file__).parent
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    given = {name: np.zeros(each["example"], each["dtype"]) for name, each in description["inputs"].items()}
    answer = load(folder)(given)
    for name, array in given.items():
        print(f"takes {name}: {array.dtype} {array.shape}")
    print(f"answers {description['output']['what']}: {answer.dtype} {answer.shape}, on {jax.default_backend()}")


if __name__ == "__main__":
    main()
