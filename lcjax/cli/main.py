"""The verbs: finds the module of one, parses its flags, runs it, and says in one line what was wrong."""

import dataclasses
import importlib
import json
import os
import re
import signal
import sys
import time
import traceback

from absl import flags

from data_pipelines.schema import limits, paths, plugins
from data_pipelines.schema.errors import InputError, did_you_mean
from lcjax.cli import console
from lcjax.parallel import launcher
from lcjax.version import __version__


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb; its module in this folder has HELP, define_flags(flags) and run(flags).

    Attributes:
      line: what goes in -> what comes out.
      shared: several processes may run it as one.
      reads_names: it reads configs or workdirs, where plug-ins are named.
      takes_words: its run takes the words that are no flags, too: run(flags, *words).
      words: the flags that words without -- fill, in this order.
      several: the flag that takes all words, with commas between them.
      needed: the flags without which it does nothing; with `words` they head its help.
      computes: it runs networks, so that the devices that JAX_PLATFORMS names must be there.
      saves: it takes SIGTERM for a wish to stop, and goes on later; before it has begun there is nothing to save.
      remote: the flags that may name servers and buckets; no other may.
    """

    line: str
    shared: bool = False
    reads_names: bool = True
    takes_words: bool = False
    words: tuple[str, ...] = ()
    several: str = ""
    needed: tuple[str, ...] = ()
    computes: bool = False
    saves: bool = False
    remote: tuple[str, ...] = ()


VERBS = {
    "download": Verb(
        "the name of a published data set -> its files, as its provider has them",
        reads_names=False,
        words=("dataset", "output"),
        needed=("dataset",),
    ),
    "prepare": Verb(
        "downloaded files -> checked shards",
        reads_names=False,
        needed=("dataset", "source", "data_dir"),
        remote=("remote",),
    ),
    "train": Verb(
        "a config -> a trained network in a workdir",
        shared=True,
        words=("config", "workdir"),
        needed=("config", "workdir"),
        computes=True,
        saves=True,
    ),
    "evaluate": Verb(
        "a workdir -> scores of a split", shared=True, several="workdir", needed=("workdir",), computes=True
    ),
    "predict": Verb(
        "a workdir and a scene -> a map",
        shared=True,
        words=("workdir", "scene", "output"),
        needed=("workdir", "scene", "output"),
        computes=True,
        remote=("scene", "remote"),
    ),
    "view": Verb(
        "a map -> a page to look at it, whatever its size", reads_names=False, words=("map",), needed=("map",)
    ),
    "assess": Verb("a map -> points to label; labels -> accuracy and areas, with intervals", words=("map",)),
    "export": Verb(
        "a workdir -> a network that runs without lcjax",
        words=("workdir", "output"),
        needed=("workdir", "output"),
        computes=True,
    ),
    "push": Verb(
        "a workdir -> its network in a repository of a hub, with a card",
        words=("workdir", "to"),
        needed=("workdir", "to", "license"),
        computes=True,
    ),
    "pull": Verb(
        "a network of a hub -> a workdir to predict with",
        words=("source", "workdir"),
        needed=("source", "workdir"),
        computes=True,
    ),
    "report": Verb("workdirs -> one page that compares them", several="workdirs", needed=("workdirs", "output")),
    "sweep": Verb(
        "a config and a space -> a study of trials, and the config of the best",
        words=("config", "study"),
        needed=("config", "study"),
        saves=True,
    ),
    "benchmark": Verb(
        "a config -> speed, FLOPs, memory", shared=True, words=("config",), needed=("config",), computes=True
    ),
    "info": Verb("what there is: versions, devices, names to choose from, what a folder holds", takes_words=True),
}
# Flags and fields of the config that may differ between processes of a run: each host may keep its data elsewhere, and
# read as it can.
OF_HOSTS = ("data_dir", "threads", "workers", *launcher.FLAGS)
_CLUSTER = (*launcher.FLAGS, "distributed", "join_timeout", "loss_timeout")
USAGE = "\n".join(
    [
        "usage: lcjax VERB [--flags]\n",
        *(f"  {name:<10} {verb.line}" for name, verb in VERBS.items()),
        "\n  lcjax VERB --help teaches a verb; lcjax --version tells versions",
        "  lcjax --completion=SHELL prints a script by which bash, zsh or fish completes verbs, flags and names",
    ]
)
# What a score depends on, as `lcjax --version` lists it.
LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; returns the exit code.

    0 done, 1 defect (with traceback), 2 wrong input, 3 training diverged, 4 another process of the run is lost, 75
    stopped by SIGTERM after saving, 130 interrupted.
    """
    as_program = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(USAGE)
        return 0
    if arguments[0] == "--version":
        print(_versions())
        return 0
    if arguments[0].partition("=")[0] == "--completion":
        return _complete(arguments[0].partition("=")[2] or "".join(arguments[1:2]))
    verb, *rest = arguments
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS)
        print(f"lcjax: unknown verb {verb!r}: {hint}expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    os.environ |= limits.GDAL_OFF
    launcher.end_with_parent()
    helped = any(word in ("-h", "--help", "-help") for word in rest)
    try:
        values = _hosts_flags(rest)
        scheduler = "" if helped or not VERBS[verb].shared else launcher.started_by(values, os.environ)
    except (InputError, flags.Error) as error:
        print(f"lcjax {verb}: {_one_line(error)}", file=sys.stderr)
        return 2
    if VERBS[verb].saves and not helped and not launcher.is_watched():
        launcher.stop_at_once()
    if scheduler and not launcher.is_watched():
        return launcher.watch(verb, values.join_timeout)
    if scheduler:
        _end(_run_joined(verb, rest, scheduler, values))
    code = _run(verb, rest, helped=helped)
    if as_program and not launcher.waits():
        _end(code)
    return code


def _run(verb: str, rest: list[str], *, helped: bool = False, joined: bool = False) -> int:
    try:
        module = importlib.import_module(f"lcjax.cli.{verb}")
        own = _define(module, verb)
        if helped:
            print(_help(module, own, VERBS[verb]))
            return 0
        process = 0
        if joined:
            from lcjax.parallel import multihost

            with multihost.raise_on_all():
                words = _parse(verb, rest)
            multihost.agree(_asked(own), "the run")
            process = multihost.process_index()
        else:
            words = _parse(verb, rest)
        if VERBS[verb].computes and os.environ.get("JAX_PLATFORMS", "cpu") != "cpu":
            from lcjax.parallel import devices

            devices.check()
        with console.attached(process):
            module.run(flags.FLAGS, *words)
        sys.stdout.flush()  # a reader that is gone is met here, and not when Python ends
    except BrokenPipeError:
        return _reader_gone()
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


def _reader_gone() -> int:
    """Ends quietly, as programs do whose output goes to `head`; what is still to be printed goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _complete(shell: str) -> int:
    """Prints the script by which a shell completes the verbs and their flags; returns the exit code."""
    from lcjax.cli import completion

    verbs = {}
    for verb, known in VERBS.items():
        names = _define(importlib.import_module(f"lcjax.cli.{verb}"), verb)
        own = [completion.Flag(name, flags.FLAGS[name].boolean, flags.FLAGS[name].help) for name in names]
        verbs[verb] = (known.line, own)
        for name in names:
            delattr(flags.FLAGS, name)
    try:
        print(completion.script(shell, verbs), end="")
    except InputError as error:
        print(f"lcjax: {error}", file=sys.stderr)
        return 2
    return 0


def _versions() -> str:
    from importlib import metadata

    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return f"lcjax {__version__} (Python {sys.version.partition(' ')[0]}, {libraries})"


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
    if VERBS[verb].shared:
        launcher.define_flags(flags, flags.FLAGS)
    if VERBS[verb].reads_names:
        flags.DEFINE_list(
            "allow_plugins",
            [],
            "Packages that the config in a workdir may name as package.module:attribute; to name them is to run them. "
            "What the command line names itself, and what is installed as an entry point, needs no leave.",
        )
    return sorted(set(flags.FLAGS) - before)


def _parse(verb: str, rest: list[str]) -> list[str]:
    """Parses the flags; returns the words that are none, of a verb that takes them."""
    given_flags = as_flags(verb, rest)
    for word in given_flags if VERBS[verb].remote else rest:
        name, equals, _ = word.lstrip("-").partition("=")
        for part in re.split("[=,]", word) if not equals or name not in VERBS[verb].remote else ():
            paths.refuse_buckets(part, word)
    try:
        leftover = flags.FLAGS([f"lcjax {verb}", *given_flags])[1:]
    # A field that the config does not have, or a value of another type, surfaces as one of these.
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(_unknown_field(rest, error) or _one_line(_cause(error))) from error
    if leftover and not VERBS[verb].takes_words:
        words = VERBS[verb].words
        taken = f"; without a flag it takes {', '.join(f'--{name}' for name in words)}, in this order" if words else ""
        raise InputError(f"unexpected {' '.join(leftover)!r}: flags are written --name=value{taken}")
    given = flags.FLAGS.flag_values_dict()
    plugins.allow(*given.get("allow_plugins") or ())
    if given.get("config") is not None:
        from lcjax.runs import config_fields

        plugins.allow_named_in(given["config"])
        config_fields.check(given["config"])
    return leftover


def as_flags(verb: str, rest: list[str]) -> list[str]:
    """The words after a verb, of which those that are no flags fill the flags of `Verb.words` that are not given.

    What the shell made of `--workdirs runs/*` is a flag, its first value, and words: they go to the flag, too.
    """
    words: list[str] = []
    kept: list[str] = []
    takes_next = ""
    for place, word in enumerate(rest):
        if word == "--":
            words += rest[place + 1 :]
            break
        if takes_next:
            kept[-1], takes_next = f"--{takes_next}={word}", ""
        elif word.startswith("-") and len(word) > 1:
            kept.append(word)
            name, equals, _ = word.lstrip("-").partition("=")
            waits = not equals and (name.startswith("config.") or _takes_a_value(name))
            takes_next = name if waits and place + 1 < len(rest) else ""
        else:
            words.append(word)
    places = {word.lstrip("-").partition("=")[0]: place for place, word in enumerate(kept)}
    several = VERBS[verb].several
    if several and words:
        before = [kept.pop(places[several]).partition("=")[2]] if several in places else []
        return [f"--{several}={','.join([*before, *words])}", *kept]
    free = [name for name in VERBS[verb].words if name not in places]
    named = [f"--{name}={word}" for name, word in zip(free, words, strict=False)]
    return [*named, *kept, *words[len(named) :]]


def _takes_a_value(name: str) -> bool:
    return name in flags.FLAGS and not flags.FLAGS[name].boolean


def _unknown_field(rest: list[str], error: BaseException) -> str:
    """What to say of the first --config.FIELD that the config does not have; empty where all are there."""
    named = [word for word in rest if re.match(r"--?config\.", word)]
    given = as_flags("train", rest) if "workdir" in flags.FLAGS else rest
    text = next((word.partition("=")[2] for word in given if re.match(r"--?config=", word)), "")
    if not named or not text or isinstance(_cause(error), InputError):
        return ""
    from lcjax.configs import registry
    from lcjax.runs import config_fields

    fields = list(config_fields.flat(registry.parse(text)))
    for word in named:
        field = word.lstrip("-").partition("=")[0].removeprefix("config.")
        if field not in fields:
            return f"--config.{field}: there is no such field; {config_fields.unknown(field, fields)}"
    return ""


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


def _help(module, own: list[str], verb: Verb) -> str:
    groups = {
        "Needed": [name for name in verb.needed if name in own],
        "Common": [name for name in own if name not in (*verb.needed, *_CLUSTER, "allow_plugins")],
        "Several processes (docs/launching.md) and plug-ins": [n for n in own if n in (*_CLUSTER, "allow_plugins")],
    }
    lines = [module.HELP]
    for title, names in groups.items():
        lines += [f"\n{title}:"] if names else []
        lines += [
            f"  --{name}\n      {flags.FLAGS[name].help} (default: {flags.FLAGS[name].default})" for name in names
        ]
    if words := verb.words or (verb.several,) * bool(verb.several):
        lines.append(f"\nWords that are no flags stand for {', '.join(f'--{name}' for name in words)}.")
    return "\n".join(lines)
