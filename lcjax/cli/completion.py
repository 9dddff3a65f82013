"""Scripts by which a shell completes `lcjax`: verbs, their flags, and names of configs and data sets."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from data_pipelines.datasets import registry as datasets
from data_pipelines.schema.errors import InputError
from lcjax.configs import registry as configs


class Flag(NamedTuple):
    """A flag of a verb.

    Attributes:
      name: without its dashes.
      boolean: whether it stands without a value.
      help: what it says of itself.
    """

    name: str
    boolean: bool
    help: str

    @property
    def written(self) -> str:
        """As one writes it, up to its value."""
        return f"--{self.name}" if self.boolean else f"--{self.name}="


Verbs = Mapping[str, tuple[str, list[Flag]]]  # name -> its line, its flags


def script(shell: str, verbs: Verbs) -> str:
    """Returns the script for a shell.

    Raises:
      InputError: it is none of bash, zsh and fish.
    """
    if shell not in _SHELLS:
        raise InputError(f"--completion={shell}: expected one of {', '.join(_SHELLS)}")
    return _SHELLS[shell](verbs)


def _values(verb: str) -> dict[str, list[str]]:
    """What flags of a verb can be, where that is a name and not a path."""
    names = list(datasets.REGISTRY.names())
    if verb == "download":
        names = [name for name in names if name not in datasets.DATASETS or datasets.DATASETS[name].downloads]
    if verb == "prepare":
        names += [f"{family}/" for family in datasets.FAMILIES]
    return {"config": list(configs.REGISTRY.names()), "dataset": names}


_EARLY = 12  # letters


def _plain(text: str) -> str:
    """How a text begins, up to its first stop, without what shells read as more than letters."""
    text = re.sub(r"\s*\|\s*", " or ", text.replace("->", "to"))
    # What stands before an early colon says little by itself
    stop = re.search(rf"[;(]|[.] |(?<=.{{{_EARLY}}}):", text)
    first = text[: stop.start()] if stop else text
    return re.sub(r"[^\w ,./%-]", "", first.strip().rstrip(".").replace(":", ","))[:80]


def _bash(verbs: Verbs) -> str:
    flags = [f'        {verb}) flags="{" ".join(flag.written for flag in its)}" ;;' for verb, (_, its) in verbs.items()]
    values = [
        f'        "{verb} --{name}="*) values="{" ".join(names)}" ;;'
        for verb, (_, its) in verbs.items()
        for name, names in _values(verb).items()
        if name in {flag.name for flag in its}
    ]
    return _BASH.format(verbs=" ".join(verbs), flags="\n".join(flags), values="\n".join(values))


# A word is taken from the whole line, because bash breaks it at = and :
_BASH = """# lcjax --completion=bash > ~/.local/share/bash-completion/completions/lcjax
_lcjax() {{
    local line=${{COMP_LINE:0:COMP_POINT}} flags="" values=""
    local word=${{line##*[[:space:]]}}
    # What is quoted would need its quotes again
    if [[ ${{COMP_WORDS[COMP_CWORD]}} == *[\\\\\\"\\']* || ${{line%"$word"}} == *\\\\[[:space:]] ]]; then
        COMPREPLY=()
        return
    fi
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "{verbs}" -- "$word")
        return
    fi
    case ${{COMP_WORDS[1]}} in
{flags}
    esac
    case "${{COMP_WORDS[1]}} $word" in
{values}
    esac
    if [[ $word == --*=* && $values ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "${{word#*=}}")
        [[ ${{COMPREPLY[0]}} != */ ]] || compopt -o nospace 2>/dev/null
    elif [[ $word == --*=* || $word != -* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "${{word#--*=}}")
    else
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
    fi
}}
complete -F _lcjax lcjax
"""


def _zsh(verbs: Verbs) -> str:

    def shown(verb: str, flag: Flag) -> str:
        names = _values(verb).get(flag.name)
        takes = "" if flag.boolean else f":{flag.name}:" + (f"({' '.join(names)})" if names else "_files")
        return f"'{flag.written}[{_plain(flag.help)}]{takes}'"

    lines = [f"    '{verb}:{_plain(line)}'" for verb, (line, _) in verbs.items()]
    cases = [
        f"    {verb}) flags=({' '.join(shown(verb, flag) for flag in its)}) ;;" for verb, (_, its) in verbs.items()
    ]
    return _ZSH.format(verbs="\n".join(lines), cases="\n".join(cases))


_ZSH = """#compdef lcjax
# lcjax --completion=zsh > _lcjax, in a folder of $fpath
_lcjax() {{
  local -a verbs flags
  verbs=(
{verbs}
  )
  if ((CURRENT == 2)); then
    _describe verb verbs
    return
  fi
  case $words[2] in
{cases}
  esac
  shift words
  ((CURRENT--))
  _arguments "$flags[@]" '*:file:_files'
}}
_lcjax "$@"
"""


def _fish(verbs: Verbs) -> str:
    lines = ["# lcjax --completion=fish > ~/.config/fish/completions/lcjax.fish"]
    for verb, (line, its) in verbs.items():
        values = _values(verb)
        lines.append(f"complete -c lcjax -n __fish_use_subcommand -f -a {verb} -d '{_plain(line)}'")
        for flag in its:
            names = f" -x -a '{' '.join(values[flag.name])}'" if flag.name in values else " -r"
            takes = "" if flag.boolean else names
            seen = f"'__fish_seen_subcommand_from {verb}'"
            lines.append(f"complete -c lcjax -n {seen} -l {flag.name}{takes} -d '{_plain(flag.help)}'")
    return "\n".join(lines) + "\n"


_SHELLS: dict[str, Callable[[Verbs], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
