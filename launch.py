#!/usr/bin/env python3
"""lcjax: land-cover mapping from satellites and aircraft. `launch.py VERB --help` teaches a verb."""

import importlib
import pathlib
import sys

from absl import flags

from data_pipelines.errors import InputError

# verb -> the module with its HELP, define_flags(flags) and run(flags), and a line about it
VERBS = {
    "prepare": ("data_pipelines.prepare", "downloaded files -> checked shards"),
    "train": ("lcjax.train", "a config -> a trained network in a workdir"),
    "evaluate": ("lcjax.evaluate", "a workdir -> scores of a split"),
    "predict": ("lcjax.predict", "a workdir and a scene -> a map"),
    "export": ("lcjax.export", "a workdir -> a network that runs without lcjax"),
    "report": ("lcjax.report", "workdirs -> one page that compares them"),
    "benchmark": ("lcjax.benchmark", "a config -> speed, FLOPs, memory"),
}
USAGE = "usage: lcjax VERB [--flags]\n\n" + "\n".join(f"  {verb:<10} {line}" for verb, (_, line) in VERBS.items())


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0 done, 1 defect (with traceback), 2 wrong input, 3 training diverged."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(USAGE + "\n\n  lcjax VERB --help teaches a verb")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"lcjax: unknown verb {verb!r}: expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(VERBS[verb][0])
        own = _define(module)
        if any(word in ("-h", "--help", "-help") for word in rest):
            print(_help(module, own))
            return 0
        _parse(verb, rest)
        module.run(flags.FLAGS)
    except (InputError, OSError) as error:
        print(f"lcjax {verb}: {_one_line(error)}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"lcjax {verb}: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"lcjax {verb}: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


def _define(module) -> list[str]:
    before = set(flags.FLAGS)
    module.define_flags(flags)
    return sorted(set(flags.FLAGS) - before)


def _parse(verb: str, rest: list[str]) -> None:
    for word in rest:
        name, equals, value = word.partition("=")
        path = value.partition(":")[0]
        if name == "--config" and equals and not pathlib.Path(path).is_file():
            raise InputError(f"--config={path}: no such file; expected a Python file, e.g. configs/dfc2020.py")
    try:
        leftover = flags.FLAGS([f"lcjax {verb}", *rest])[1:]
    # A config file is Python: a key that it does not have, or a value of another type, surfaces as one of these.
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(_one_line(_cause(error))) from error
    if leftover:
        raise InputError(f"unexpected {' '.join(leftover)!r}: flags are written --name=value")


def _cause(error: BaseException) -> BaseException:
    """The InputError of a config file that the flags library wrapped in its own errors, or the error itself."""
    found, context = error, error.__context__
    while context is not None:
        found = context if isinstance(context, InputError) else found
        context = context.__context__
    return found


def _one_line(error: BaseException) -> str:
    # The text of a KeyError is the representation of its argument; the config library wraps one in another error.
    text = error
    while isinstance(text, BaseException) and len(text.args) == 1:
        text = text.args[0]
    return " ".join(str(text).split())


def _help(module, own: list[str]) -> str:
    lines = [f"  --{name}\n      {flags.FLAGS[name].help} (default: {flags.FLAGS[name].default})" for name in own]
    return "\n".join([module.HELP, "\nFlags:", *lines])


if __name__ == "__main__":
    sys.exit(main())
