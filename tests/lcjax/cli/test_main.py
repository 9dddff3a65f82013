"""The command line: what it teaches, and that each mistake is one line on stderr and the exit code 2."""

import importlib
import os
import re
import subprocess
import sys

import pytest
from absl import flags

from data_pipelines.schema import plugins
from lcjax.cli import main as verbs

CONFIG = "--config=dfc2020"
WORKDIR = "--workdir=nowhere"


@pytest.mark.parametrize("arguments", [(), ("help",), ("-h",), ("--help",)])
def test_without_a_verb_it_names_the_verbs(command, arguments):
    code, out, err = command(*arguments)
    assert (code, err) == (0, [])
    assert all(re.search(rf"^  {verb} ", out, re.MULTILINE) for verb in verbs.VERBS)


FLAGS_OF = {
    "download": ("dataset", "output", "part"),
    "prepare": ("dataset", "source", "data_dir"),
    "train": ("config", "workdir"),
    "evaluate": ("workdir", "split", "checkpoint", "data_dir"),
    "predict": ("workdir", "scene", "output", "bands", "offset", "overlap", "checkpoint", "batch_size"),
    "view": ("map", "scene", "truth", "bands", "legend", "port", "open"),
    "assess": ("map", "sample", "labels", "output", "size", "allocation", "strata", "scene", "training", "seed"),
    "export": ("workdir", "output", "checkpoint", "safetensors", "layout", "onnx"),
    "push": ("workdir", "to", "license", "checkpoint", "private", "output"),
    "pull": ("source", "workdir"),
    "report": ("workdirs", "output"),
    "benchmark": (
        *("config", "steps", "list", "tiny", "input", "records", "json", "plot"),
        *("devices", "inference", "scene", "compare", "topology", "plan"),
    ),
    "sweep": ("config", "study", "trials", "hours", "space", "storage", "sampler", "pruner", "keep", "allow_plugins"),
    "info": ("check", "allow_plugins"),
}


def test_every_verb_is_in_the_table_of_this_test():
    assert FLAGS_OF.keys() == verbs.VERBS.keys()


@pytest.mark.parametrize("verb", FLAGS_OF)
def test_help_of_a_verb_shows_its_flags_and_an_example(command, verb):
    code, out, err = command(verb, "--help")
    assert (code, err) == (0, [])
    assert re.search(rf"^  lcjax {verb} ", out, re.MULTILINE)
    explained = dict(re.findall(r"^  --(\w+)\n      (.+)", out, re.MULTILINE))
    assert set(FLAGS_OF[verb]) <= explained.keys()
    # Each says more than its default.
    assert all(len(text.partition("(default:")[0].split()) >= 2 for text in explained.values())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("trian",), "unknown verb 'trian': did you mean 'train'? expected one of download, prepare, train, evaluate"),
        (("--workdir=x",), "unknown verb '--workdir=x'"),
        (("train", "--confg=x"), "Unknown command line flag 'confg'. Did you mean: config ?"),
        (
            ("train", CONFIG, WORKDIR, "extra"),
            "unexpected 'extra': flags are written --name=value; without a flag it",
        ),
        (("train", CONFIG, WORKDIR, "--config.batchsize=3"), "no such field; did you mean 'batch_size'?"),
        (
            ("train", CONFIG, WORKDIR, "--config.optimizer.learning_rat=1"),
            "did you mean 'optimizer.learning_rate'? config.optimizer has",
        ),
        (("train", CONFIG, WORKDIR, "--config.batch_size=many"), "--config.batch_size=many: invalid literal for int()"),
        (("train", CONFIG, WORKDIR, "--config.optimizer.lr=1"), "did you mean 'optimizer.learning_rate'? config."),
        (("train", CONFIG, WORKDIR, "--config.batch_size=0"), "config.batch_size=0: expected 1 to 1048576 (examples"),
        (("train", CONFIG, WORKDIR, "--config.seed=-1"), "config.seed=-1: expected 0 to 2147483647"),
        (("train", CONFIG, WORKDIR, "--config.total=20 epochz"), "expected a number and one of steps, epochs"),
        (("benchmark", CONFIG, "--config.crop=-5"), "config.crop=-5: expected 0 to 16384"),
        (
            ("train", f"{CONFIG}:modle=unet", WORKDIR),
            "config argument 'modle=unet': expected key=value with these keys",
        ),
        (("train", f"{CONFIG}:model", WORKDIR), "config argument 'model': expected key=value"),
        (("train", f"{CONFIG}:tiny=yes", WORKDIR), "config argument 'tiny=yes': expected tiny=true or tiny=false"),
        (("train", f"{CONFIG}:model=vgg", WORKDIR), "config.model.name='vgg': expected one of unet, resnet18_unet"),
        (("train", "--config=configs/dfc2021.py", WORKDIR), "--config=configs/dfc2021.py: no such file"),
        (("train", "--config", "configs/dfc2021.py", WORKDIR), "--config=configs/dfc2021.py: no such file"),
        (
            ("train", "--config=dfc2021:model=unet", WORKDIR),
            "config='dfc2021': did you mean 'dfc2020'? expected one of dfc2020, flair1, pretrain",
        ),
        (("train", "--config=no_such:get_config", WORKDIR), "config='no_such:get_config': no_such cannot be imported"),
        (
            ("train", "--config=configs/dfc2020.py:modle=unet", WORKDIR),
            "config argument 'modle=unet': expected key=value",
        ),
        (("train",), "train needs --config and --workdir"),
        (("train", CONFIG), "train needs --config and --workdir"),
        (("benchmark",), "benchmark needs --config, e.g."),
        (("benchmark", CONFIG, "--input"), "or --list, --input or --compare, one of them"),
        (("benchmark", CONFIG, "--list"), "or --list, --input or --compare, one of them"),
        (("benchmark", "--list", "--input"), "or --list, --input or --compare, one of them"),
        (("benchmark", CONFIG, "--tiny"), "--tiny goes with --list"),
        (("benchmark", CONFIG, "--scene=9x9"), "--scene goes with --inference"),
        (("benchmark", CONFIG, "--inference", "--scene=9by9"), "--scene=9by9: expected WIDTHxHEIGHT in pixels"),
        (("benchmark", CONFIG, "--devices=1,0"), "--devices=1,0: expected different numbers"),
        (("benchmark", CONFIG, "--devices=2", "--inference"), "--inference and --devices: expected one of them"),
        (("benchmark", CONFIG, "--inference", "--plot=a.png"), "--plot goes with the training step"),
        (("benchmark", "--compare=a.json,b.json"), "a.json: no such file"),
        (("benchmark", CONFIG, "--plot=tests"), "tests: a folder; expected a file to write"),
        (("benchmark", CONFIG, "--steps=0"), "--steps=0"),
        (("evaluate",), "evaluate needs --workdir"),
        (("evaluate", WORKDIR, "--allow_plugins=../x"), "--allow_plugins=../x: expected names of installed packages"),
        (("evaluate", WORKDIR), "nowhere/config.json: no such file; expected the workdir of a training run"),
        (("predict",), "expected all of --workdir, --scene, --output"),
        (("export", WORKDIR), "export needs --workdir and --output"),
        (("export", WORKDIR, "--output=elsewhere"), "nowhere/config.json: no such file"),
        (("report",), "--workdirs is missing"),
        (("prepare",), "--dataset is missing"),
        (
            ("info", "modles"),
            "modles: expected one of models, datasets, tasks, losses, configs, trackers, weights, protocols, a folder, "
            "a file of weights, or a config: dfc2020,",
        ),
        (("push", "runs/x"), "push needs --to and --license, e.g. lcjax push runs/unet --to=hf:ORG/NAME"),
        (("push", WORKDIR, "--to=x/y", "--license=mit"), "--to=x/y: expected hf:ORG/NAME"),
        (("pull", "hf:o/n"), "pull needs --source and --workdir"),
        (("pull", "hf:o", "--workdir=pulled"), "--source=hf:o: expected hf:ORG/NAME"),
        (("info", "modles", "tasks"), "modles: expected one of"),
        (("info", "models", "--check"), "--check: is of this machine; expected no words beside it, found 'models'"),
        (("info", "dfc2020:modle=unet"), "config argument 'modle=unet': expected key=value"),
        (
            ("info", "tests"),
            "tests: holds none of config.json, description.json, export.json, study.json; expected a workdir",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(command, arguments, says):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert len(err) == 1, err
    assert says in err[0]
    assert err[0].startswith("lcjax")


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (("train", CONFIG), set()),
        (
            ("train", CONFIG, "--config.model.name=my_models.unet:UNet", "--config.dataset=my_data:Data"),
            "my_models my_data",
        ),
        (("evaluate", "--allow_plugins=my_models,others.deep"), "my_models others"),
        (("report", "--allow_plugins=my_models"), "my_models"),
    ],
)
def test_the_command_line_allows_what_it_names(command, monkeypatch, arguments, allowed):
    monkeypatch.setattr(plugins, "_allowed", set())
    assert command(*arguments)[0] == 2
    assert plugins._allowed == set(allowed and allowed.split())


def test_every_verb_that_reads_a_workdir_or_a_config_takes_allow_plugins(command):
    taken = {verb for verb in verbs.VERBS if "--allow_plugins\n" in command(verb, "--help")[1]}
    assert taken == verbs.VERBS.keys() - {"download", "prepare", "view"}


def test_version_names_what_scores_depend_on(command):
    code, out, err = command("--version")
    assert (code, err) == (0, [])
    assert re.fullmatch(r"lcjax \d+\.\d+\.\d+ \(Python 3\.[\d.]+, jax [\d.]+, flax .*numpy [\d.]+\)\n", out)


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("train", "--help"), ("info", "--help")])
def test_help_and_version_do_not_wait_for_jax(arguments):
    script = f"import sys; from lcjax.cli.main import main; main({arguments!r}); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("verb", "words", "flags_"),
    [
        ("evaluate", ["runs/unet"], ["--workdir=runs/unet"]),
        ("evaluate", ["runs/a", "runs/b", "--split=train"], ["--workdir=runs/a,runs/b", "--split=train"]),
        ("evaluate", ["--split", "train", "runs/a"], ["--workdir=runs/a", "--split=train"]),
        ("train", ["x.py", "runs/x", "--config.seed=2"], ["--config=x.py", "--workdir=runs/x", "--config.seed=2"]),
        ("train", ["--workdir=runs/x", "x.py"], ["--config=x.py", "--workdir=runs/x"]),
        ("train", ["--config=x", "--config.seed", "2", "x"], ["--workdir=x", "--config=x", "--config.seed=2"]),
        ("report", ["--workdirs", "runs/a", "runs/b", "--output=o"], ["--workdirs=runs/a,runs/b", "--output=o"]),
        ("report", ["runs/a", "runs/b", "--output=o"], ["--workdirs=runs/a,runs/b", "--output=o"]),
        ("predict", ["runs/a", "s.tif", "m", "--tta"], ["--workdir=runs/a", "--scene=s.tif", "--output=m", "--tta"]),
        ("predict", ["--notta", "runs/a", "s.tif"], ["--workdir=runs/a", "--scene=s.tif", "--notta"]),
        ("predict", ["a", "b", "c", "d"], ["--workdir=a", "--scene=b", "--output=c", "d"]),
        ("export", ["runs/a", "out"], ["--workdir=runs/a", "--output=out"]),
        ("info", ["models", "--check"], ["--check", "models"]),
    ],
)  # fmt: skip
def test_words_fill_the_flags_that_are_not_given(verb, words, flags_):
    before = set(flags.FLAGS)
    try:
        importlib.import_module(f"lcjax.cli.{verb}").define_flags(flags)
        assert verbs.as_flags(verb, words) == flags_
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)


def test_positional_words_name_config_and_workdir(command):
    code, _, err = command("train", "dfc2020", "nowhere", "--config.batch_size=0")
    assert code == 2 and "config.batch_size=0: expected 1" in err[0]
    code, _, err = command("evaluate", "nowhere")
    assert code == 2 and "nowhere/config.json: no such file" in err[0]


def test_help_groups_what_is_needed_common_and_of_clusters(command):
    _, out, _ = command("train", "--help")
    places = [
        out.index(part) for part in ("\nNeeded:", "--workdir\n", "\nCommon:", "--profile\n", "\nSeveral processes")
    ]
    assert places == sorted(places) and out.index("--coordinator_address\n") > places[-1]


def test_a_reader_that_is_gone_is_no_error():
    script = "import sys; sys.argv = ['lcjax', 'info', 'models']; from lcjax.cli.main import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process.stderr as said:
        assert (said.read(), process.wait()) == (b"", 141)


def test_a_platform_without_devices_is_one_line():
    environment = os.environ | {"JAX_PLATFORMS": "tpu"}
    script = "import sys; sys.argv = ['lcjax', 'evaluate', 'x']; from lcjax.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "JAX_PLATFORMS=tpu: JAX finds no such device here" in done.stderr and "'lcjax[tpu]'" in done.stderr
    script = script.replace(
        "'evaluate', 'x'", "'report', 'x', '--output=y'"
    )  # computes nothing, so it asks for no device
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "JAX_PLATFORMS" not in done.stderr and "no such folder" in done.stderr


WITH_A_HOOK = """
import atexit, sys, threading
from lcjax.cli.main import main
from lcjax.parallel import launcher
atexit.register(threading.Event().wait)
launcher.wait_for_nobody()
sys.argv = ["lcjax", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(("words", "code"), [(["info", "losses"], 0), (["info", "nothing"], 2)])
def test_a_hook_that_waits_for_ever_does_not_hold_a_program_that_waits_for_nobody(words, code):
    """As that of Weights & Biases does, where its server cannot be reached; all of the output is there."""
    done = subprocess.run([sys.executable, "-c", WITH_A_HOOK, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == code and (done.stdout if code == 0 else done.stderr)
