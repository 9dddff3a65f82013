"""The flag --config of the verbs: names of configs, and --config.FIELD=VALUE."""

from collections.abc import Mapping

from absl import flags as absl_flags


class _Parser(absl_flags.ArgumentParser):
    space: Mapping[str, str] = {}

    def parse(self, argument: str):
        from lcjax.configs import registry  # here, because networks and JAX stand behind it: `--help` need not wait

        name, text = registry.split(argument)
        family = registry.find(name)
        self.space = family.space
        config = family(text)
        config.lock()  # a field that it does not have cannot be set
        return config


def define(flags) -> None:
    """Defines --config in `flags` (absl.flags); its value is the resolved ConfigDict."""
    from ml_collections import config_flags

    config_flags.DEFINE_config_file(
        "config",
        None,
        "A config and its arguments, NAME:key=value,... (`lcjax info configs` lists them); in place of NAME also your "
        "own FILE.py or package.module:function.",
    )
    flags.FLAGS["config"].parser = _Parser()  # that of the library knows paths alone


def space(flags) -> dict[str, str]:
    """What the file of the config that was given wants to be searched: text by field; empty where it does not tell."""
    return dict(flags["config"].parser.space)
