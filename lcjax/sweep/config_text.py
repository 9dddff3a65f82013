"""Configs as files that `--config` takes: every field as it is, so that the file means the same in any version."""

import pathlib
import pprint

import ml_collections

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.configs import registry

_FILE = '''"""{doc}"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The config, whole."""
    return ml_collections.ConfigDict(
{fields}
    )
'''


def write(path: pathlib.Path, config: ml_collections.ConfigDict, doc: str) -> None:
    """Writes a config as a file of Python that `--config` takes, and reads it back.

    Args:
      path: of the file, which ends in .py.
      config: of a run; the file has its data_dir from the root, as config.json has.
      doc: what it is, for whoever opens it.

    Raises:
      InputError: the file is not what was written.
      OSError: it cannot be written.
    """
    fields = config.to_dict() | {"data_dir": str(paths.given(config.data_dir, "config.data_dir").absolute())}
    shown = pprint.pformat(fields, width=100, sort_dicts=False)
    indented = "\n".join(f"        {line}" for line in shown.splitlines())
    escaped = doc.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').rstrip('"')
    write_atomically(path, _FILE.format(doc=escaped, fields=indented))
    if registry.parse(str(path)).to_dict() != fields:
        raise InputError(f"{path}: does not hold the config that was written; is something else writing there?")
