"""The scripts by which shells complete `lcjax`: that of bash is run, all name every verb and flag."""

import re
import subprocess
import sys

import pytest

from lcjax.cli import completion
from lcjax.cli import main as verbs

FLAGS = {"train": {"--config=", "--workdir=", "--profile="}, "predict": {"--scene=", "--tta", "--confidence"}}


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """File with the script for bash."""
    path = tmp_path_factory.mktemp("completion") / "lcjax.bash"
    path.write_text(printed("bash"))
    return path


def printed(shell: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; from lcjax.cli import main; sys.exit(main.main(['--completion={shell}']))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def offered(script, line: str, folder) -> set[str]:
    """What bash offers at the end of a line; it breaks words at = and :, as it does for people."""
    words = re.findall(r"(?:\\ |[^\s=:])+|[=:]", line) + ([""] if line.endswith((" ", "=")) else [])
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_LINE='{line}'; COMP_POINT={len(line)}; COMP_WORDS=({quoted}); "
        f"COMP_CWORD={len(words) - 1}; _lcjax; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert not done.stderr
    return {word for word in done.stdout.splitlines() if word}


def test_verbs_and_their_flags_are_offered(script, tmp_path):
    assert offered(script, "lcjax ", tmp_path) == set(verbs.VERBS)
    assert offered(script, "lcjax ev", tmp_path) == {"evaluate"}
    for verb, known in FLAGS.items():
        assert known <= offered(script, f"lcjax {verb} --", tmp_path)
    assert offered(script, "lcjax predict --con", tmp_path) == {"--confidence", "--conformal="}
    assert offered(script, "lcjax unknown --", tmp_path) == set()


def test_names_and_files_are_offered_as_values(script, tmp_path):
    (tmp_path / "scene.tif").touch()
    (tmp_path / "scenes").mkdir()
    assert {"dfc2020", "rasters"} <= offered(script, "lcjax train --config=", tmp_path)
    assert offered(script, "lcjax train --config=fl", tmp_path) == {"flair1"}
    assert offered(script, "lcjax predict --workdir=runs --scene=sc", tmp_path) == {"scene.tif", "scenes"}
    assert offered(script, "lcjax info sc", tmp_path) == {"scene.tif", "scenes"}


def test_names_are_those_that_the_verb_takes(script, tmp_path):
    assert offered(script, "lcjax prepare --dataset=", tmp_path) >= {"sample", "dfc2020", "rasters/"}
    download = offered(script, "lcjax download --dataset=", tmp_path)
    assert "dfc2020" in download and not download & {"sample", "rasters/"}


def test_paths_with_quoted_blanks_are_left_alone(script, tmp_path):
    (tmp_path / "my scenes").mkdir()
    (tmp_path / "scenes").mkdir()
    assert offered(script, "lcjax predict --scene=m", tmp_path) == {"my scenes"}
    for begun in ("my\\ sc", '"sc', '"'):
        assert not offered(script, f"lcjax predict --scene={begun}", tmp_path)


def test_what_a_flag_says_of_itself_keeps_its_sense():
    flag = completion.Flag("over", False, "One of: a|b | c (of three)")
    assert "--over=[One of, a or b or c]" in completion.script("zsh", {"verb": ("x -> y", [flag])})
    flag = completion.Flag("over", False, "What is taken over: all of it")
    assert "--over=[What is taken over]" in completion.script("zsh", {"verb": ("x -> y", [flag])})


@pytest.mark.parametrize(("shell", "written"), [("zsh", "--{}["), ("fish", "-l {} ")])
def test_other_shells_get_every_verb_and_flag(shell, written, script):
    text = printed(shell)
    for verb in verbs.VERBS:
        assert re.search(rf"\b{verb}\b", text)
    flags = re.findall(r"--(\w+)=?(?=[ \"])", script.read_text().partition("case")[2].partition("esac")[0])
    assert len(flags) > 50
    assert all(written.format(name) in text or written.format(f"{name}=") in text for name in flags)


def test_a_shell_that_is_not_known_is_refused(capsys):
    assert verbs.main(["--completion=tcsh"]) == 2
    assert "--completion=tcsh: expected one of bash, zsh, fish" in capsys.readouterr().err
    assert verbs.main(["--completionbash"]) == 2
    assert "unknown verb '--completionbash'" in capsys.readouterr().err
