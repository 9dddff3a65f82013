"""The verbs: finds the module of one, parses its flags, runs it, and says in one line what was wrong."""

import importlib
import json
import os
import re
import sys
import time
import traceback

from absl import flags

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.cli import console
from lcjax.parallel import launcher

# Verb -> a line about it. Its module in this folder has HELP, define_flags(flags) and run(flags).
VERBS = {
    "prepare": "downloaded files -> checked shards",
    "train": "a config -> a trained network in a workdir",
    "evaluate": "a workdir -> scores of a split",
    "predict": "a workdir and a scene -> a map",
    "export": "a workdir -> a network that runs without lcjax",
    "report": "workdirs -> one page that compares them",
    "benchmark": "a config -> speed, FLOPs, memory",
}
# Verbs that read neither a config nor a workdir.
PLAIN = ("prepare",)
# Verbs that several processes may run as one.
SHARED = ("train", "evaluate", "predict", "benchmark")
# Flags and fields of the config that may differ then: each host may keep its data elsewhere, and read as it can.
OF_HOSTS = ("data_dir", "threads", "workers", *launcher.FLAGS)
USAGE = "usage: lcjax VERB [--flags]\n\n" + "\n".join(f"  {verb:<10} {line}" for verb, line in VERBS.items())


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; returns the exit code.

    0 done, 1 defect (with traceback), 2 wrong input, 3 training diverged, 4 another process of the run is lost, 75
    stopped by SIGTERM after saving, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(USAGE + "\n\n  lcjax VERB --help teaches a verb")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"lcjax: unknown verb {verb!r}: expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    helped = any(word in ("-h", "--help", "-help") for word in rest)
    try:
        values = _hosts_flags(rest)
        scheduler = "" if helped or verb not in SHARED else launcher.started_by(values, os.environ)
    except (InputError, flags.Error) as error:
        print(f"lcjax {verb}: {_one_line(error)}", file=sys.stderr)
        return 2
    if verb == "train" and not helped and not launcher.is_watched():
        launcher.stop_at_once()
    if scheduler and not launcher.is_watched():
        return launcher.watch(verb, values.join_timeout)
    if scheduler:
        _end(_run_joined(verb, rest, scheduler, values))
    return _run(verb, rest, helped=helped)


def _run(verb: str, rest: list[str], *, helped: bool = False, joined: bool = False) -> int:
    try:
        module = importlib.import_module(f"lcjax.cli.{verb}")
        own = _define(module, verb)
        if helped:
            print(_help(module, own))
            return 0
        process = 0
        if joined:
            from lcjax.parallel import multihost

            with multihost.raise_on_all():
                _parse(verb, rest)
            multihost.agree(_asked(own), "the run")
            process = multihost.process_index()
        else:
            _parse(verb, rest)
        with console.attached(process):
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
    except launcher.Stopped:
        return launcher.STOPPED
    return 0


def _hosts_flags(rest: list[str]) -> flags.FlagValues:
    values = flags.FlagValues()
    launcher.define_flags(flags, values)
    values(["lcjax", *rest], known_only=True)
    return values


def _run_joined(verb: str, rest: list[str], scheduler: str, values: flags.FlagValues) -> int:
    """Runs the verb as one of the processes of a run; returns the exit code."""
    from lcjax.parallel import multihost

    launcher.die_with_watcher()
    try:
        multihost.join(scheduler, values, asks=verb == "train")
        launcher.tell_joined()
        code = _run(verb, rest, joined=True)
        if code in (0, launcher.STOPPED):
            multihost.shutdown()
        elif multihost.is_main_process():
            time.sleep(2)  # the others may be about to say the same, and with process 0 goes what holds them together
        return code
    except InputError as error:
        print(f"lcjax {verb}: {error}", file=sys.stderr)
        return 2
    except launcher.Lost as error:
        print(f"lcjax {verb}: {error}", file=sys.stderr)
        return launcher.LOST
    except Exception as error:
        traceback.print_exc()
        if not multihost.is_peer_failure(error):
            return 1
        time.sleep(2 * values.loss_timeout)  # long before that JAX has found out, too, and has ended this process
        return launcher.LOST


def _asked(own: list[str]) -> dict:
    """What all processes of a run must be given alike: flags of the verb, and the config as it was resolved."""
    asked = {name: flags.FLAGS[name].value for name in own if name not in OF_HOSTS}
    if (config := asked.get("config")) is not None:
        asked["config"] = {key: value for key, value in json.loads(config.to_json()).items() if key not in OF_HOSTS}
    return asked


def _end(code: int) -> None:
    """Ends this process without waiting for others, whatever threads there are."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _define(module, verb: str) -> list[str]:
    before = set(flags.FLAGS)
    module.define_flags(flags)
    if verb in SHARED:
        launcher.define_flags(flags, flags.FLAGS)
    if verb not in PLAIN:
        flags.DEFINE_list(
            "allow_plugins",
            [],
            "Packages that the config in a workdir may name as package.module:attribute; to name them is to run them. "
            "What the command line names itself, and what is installed as an entry point, needs no leave.",
        )
    return sorted(set(flags.FLAGS) - before)


def _parse(verb: str, rest: list[str]) -> None:
    for word in rest:
        if re.search(r"(^|[=,])(gs|s3)://", word):
            raise InputError(f"{word}: buckets are not opened; mount it and name the folder, see docs/launching.md")
    try:
        leftover = flags.FLAGS([f"lcjax {verb}", *rest])[1:]
    # A field that the config does not have, or a value of another type, surfaces as one of these.
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(_one_line(_cause(error))) from error
    if leftover:
        raise InputError(f"unexpected {' '.join(leftover)!r}: flags are written --name=value")
    given = flags.FLAGS.flag_values_dict()
    plugins.allow(*given.get("allow_plugins") or ())
    if given.get("config") is not None:
        plugins.allow_named_in(given["config"])


def _cause(error: BaseException) -> BaseException:
    """The InputError of a config that the flags library wrapped in its own errors, or the error itself."""
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
