"""The ways to start lcjax on a cluster, with stand-ins for the programs of the cluster.

No Slurm, no cloud: what is checked is that the scripts call what they should with the arguments of the user unchanged,
and what they make of each exit code; and that the manifest is one, by the schemas of Kubernetes and the documented
fields of JobSet.
"""

import configparser
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import kubernetes_validate
import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
SCRIPTS = sorted(DEPLOY.glob("*.sh"))
# Words that a shell, YAML or a template would change if they were not quoted.
HARD = ["train", "--config=configs/x.py:a=1,b=two words", "--config.total=50 %", "it's", '"$HOME" `id` $(id)', "*", ""]

# Stands for a program: notes how it was called, and answers as it was told. The answers to the calls of a program (of
# gcloud, to those of a verb) are used in turn; the last one stays.
STAND_IN = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever it inherited
folder = pathlib.Path(os.environ["STAND_INS"])
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
key = f"gcloud {arguments[3]}" if name == "gcloud" else name
if key == "gcloud ssh" and "pkill" in arguments[-1]:
    key = "gcloud pkill"
calls = folder / "calls.jsonl"
before = calls.read_text().splitlines() if calls.is_file() else []
text = sys.stdin.read() if name == "kubectl" else ""
with calls.open("a") as file:
    file.write(json.dumps([key, arguments, text]) + "\\n")
answers = json.loads((folder / "answers.json").read_text()).get(key, [{}])
answer = answers[min(sum(json.loads(row)[0] == key for row in before), len(answers) - 1)]
while "until" in answer and not (folder / answer["until"]).exists():
    time.sleep(0.02)
if "touch" in answer:
    (folder / answer["touch"]).touch()
if "out" in answer:
    print(answer["out"])
sys.exit(answer.get("code", 0))
"""


@pytest.fixture
def cluster(tmp_path):
    """Starts a script where the programs of a cluster are stand-ins; `calls()` tells how these were called."""
    return Cluster(tmp_path)


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        for name in ("srun", "scontrol", "gcloud", "kubectl"):
            path = folder / "bin" / name
            path.write_text(f"#!{sys.executable}\n{STAND_IN}")
            path.chmod(0o755)

    def start(self, script, *words, answers=None, **environment):
        """In a process group of its own, as from a terminal."""
        (self.folder / "answers.json").write_text(json.dumps(answers or {}))
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "STAND_INS": str(self.folder),
            "WAIT": "0",
            **environment,
        }
        # A shell that was started with Ctrl-C ignored, as in the background, can never hear it.
        heard = (
            "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
        )
        return subprocess.Popen(
            [sys.executable, "-c", heard, "bash", str(DEPLOY / script), *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, script, *words, **settings):
        process = self.start(script, *words, **settings)
        self.output = process.communicate(timeout=60)[0].decode()
        return process.returncode

    def calls(self, key):
        path = self.folder / "calls.jsonl"
        rows = [json.loads(row) for row in path.read_text().splitlines()] if path.is_file() else []
        return [(arguments, text) for name, arguments, text in rows if name == key]


def after(flag, words):
    """The value of --flag=VALUE among words."""
    return next(word.partition("=")[2] for word in words if word.startswith(f"--{flag}="))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(path):
    subprocess.run(["bash", "-n", path], check=True)
    shellcheck = pathlib.Path(sys.executable).parent / "shellcheck"
    found = subprocess.run([shellcheck, path], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert os.access(path, os.X_OK)


def test_nothing_of_an_experiment_is_in_them():
    for path in SCRIPTS:
        code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not re.search(r"--config|--workdir|configs/", "\n".join(code)), path


# ---------------------------------------------------------------- Slurm


def sbatch_options():
    """The options that sbatch reads: those before the first line that is neither empty nor a comment."""
    options = {}
    for line in (DEPLOY / "slurm.sh").read_text().splitlines():
        if line and not line.startswith("#"):
            return options
        if line.startswith("#SBATCH "):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            options[name] = value
    raise AssertionError("no command")


def test_slurm_asks_for_a_task_a_gpu_and_for_what_going_on_needs():
    options = sbatch_options()
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert options["requeue"] == "" and options["open-mode"] == "append"
    # Without "B:" the tasks get the signal, and the script, which has to wait for them, does not.
    assert re.fullmatch(r"TERM@\d+", options["signal"])


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 75, 130, 137])
def test_slurm_goes_on_after_75_alone(cluster, code):
    answers = {"srun": [{"code": code}]}
    assert cluster.run("slurm.sh", *HARD, answers=answers, SLURM_JOB_ID="321", SLURM_CPUS_PER_TASK="8") == code
    [(words, _)] = cluster.calls("srun")
    assert words[-len(HARD) - 1 :] == ["lcjax", *HARD]
    flags = words[: -len(HARD) - 1]
    assert {"--cpus-per-task=8", "--gpu-bind=none", "--kill-on-bad-exit=0", "--wait=0"} == set(flags)
    requeued = [words for words, _ in cluster.calls("scontrol")]
    assert requeued == ([["requeue", "321"]] if code == 75 else [])


def test_slurm_leaves_a_cancelled_job_alone(cluster):
    """Slurm then signals the script too."""
    process = cluster.start("slurm.sh", "train", answers={"srun": [{"until": "saved", "code": 75}]}, SLURM_JOB_ID="1")
    while not cluster.calls("srun"):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM
    (cluster.folder / "saved").touch()
    process.communicate(timeout=30)  # until the tasks have ended too
    assert not cluster.calls("scontrol")


def test_slurm_shares_what_is_compiled(cluster):
    (cluster.folder / "bin" / "srun").write_text('#!/bin/sh\necho "cache $JAX_COMPILATION_CACHE_DIR"\n')
    assert cluster.run("slurm.sh", "train", SLURM_JOB_ID="1") == 0
    assert cluster.output == f"cache {cluster.folder}/.cache/lcjax/compiled\n"
    assert cluster.run("slurm.sh", "train", SLURM_JOB_ID="1", JAX_COMPILATION_CACHE_DIR="/x") == 0
    assert cluster.output == "cache /x\n"


# ---------------------------------------------------------------- Cloud TPU

READY, MISSING, PREEMPTED = {"out": "READY"}, {"code": 1}, {"out": "PREEMPTED"}


def test_tpu_vm_makes_the_slice_and_runs_on_all_machines(cluster):
    answers = {"gcloud describe": [MISSING, {"out": "CREATING"}, READY]}
    assert cluster.run("tpu_vm.sh", *HARD, answers=answers, CREATE="--spot --network=mine") == 0
    [(made, _)] = cluster.calls("gcloud create")
    assert made[:5] == ["compute", "tpus", "tpu-vm", "create", "lcjax"]
    assert set(made[5:]) == {
        "--zone=us-west4-a",
        "--accelerator-type=v5litepod-16",
        "--version=v2-alpha-tpuv5-lite",
        "--spot",
        "--network=mine",
    }
    [(words, _)] = cluster.calls("gcloud ssh")
    assert words[:7] == ["compute", "tpus", "tpu-vm", "ssh", "lcjax", "--zone=us-west4-a", "--worker=all"]


def test_what_a_machine_of_the_slice_does(cluster):
    """The command that goes over ssh, in a shell, with stand-ins for what needs root or the network."""
    share = cluster.folder / "mnt"
    environment = {"SHARE": "10.0.0.2:/my share", "FOLDER": str(share)}
    assert cluster.run("tpu_vm.sh", *HARD, answers={"gcloud describe": [READY]}, **environment) == 0
    command = after("command", cluster.calls("gcloud ssh")[0][0])
    home, bin = cluster.folder / "home", cluster.folder / "machine"
    home.mkdir()
    bin.mkdir()
    note = 'printf "%s\\n" "$(basename "$0")$(printf " %q" "$@")" >> "$HOME/notes"'
    programs = {
        "mountpoint": f"#!/bin/bash\ntest -e {share}/mounted",
        "sudo": f"#!/bin/bash\n{note}\ncase $1 in mount) touch {share}/mounted;; mkdir) mkdir -p {share}/code;; esac",
        # an environment whose pip installs an lcjax that writes down how it was called
        "python3.11": f"#!/bin/bash\n{note}\nmkdir -p $3/bin && cp {bin}/pip $3/bin",
        "pip": f"#!/bin/bash\n{note}\ncp {bin}/lcjax lcjax-venv/bin",
        "lcjax": f"#!{sys.executable}\nimport json, os, sys\n"
        'open(os.environ["HOME"] + "/called", "w").write(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))',
    }
    for name, text in programs.items():
        (bin / name).write_text(text + "\n")
        (bin / name).chmod(0o755)
    on_machine = {"PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(home)}
    for _ in range(2):
        subprocess.run(["bash", "-c", command], cwd=home, env=on_machine, check=True)
        words, folder, variables = json.loads((home / "called").read_text())
        assert words == HARD
        assert folder == str(share / "code")
        assert variables["JAX_COMPILATION_CACHE_DIR"] == f"{share}/compiled"
    assert (home / "lcjax-code").is_dir()
    notes = (home / "notes").read_text().splitlines()
    # once, though it ran twice
    assert [note.split()[0] for note in notes] == ["sudo"] * 6 + ["python3.11", "pip"]
    assert f"sudo mount -t nfs 10.0.0.2:/my\\ share {share}" in notes
    assert notes[-1].endswith("lcjax-code/constraints/python3.11.txt ./lcjax-code\\[tpu\\]")


@pytest.mark.parametrize(
    ("codes", "ends", "runs"),
    [
        ([0], 0, 1),
        ([75, 75, 0], 0, 3),  # stopped from outside and saved: goes on
        ([2], 2, 1),
        ([3], 3, 1),
        ([1], 1, 1),
        ([4, 255, 137, 0], 0, 4),  # a process or a machine was lost: again
        ([4], 4, 3),  # for ever: not more than TRIES
    ],
)
def test_tpu_vm_after_each_exit_code(cluster, codes, ends, runs):
    answers = {"gcloud describe": [READY], "gcloud ssh": [{"code": code} for code in codes]}
    assert cluster.run("tpu_vm.sh", "train", answers=answers, TRIES="3" if codes == [4] else "20") == ends
    assert len(cluster.calls("gcloud ssh")) == runs
    assert not cluster.calls("gcloud create")


def test_tpu_vm_comes_back_after_a_preemption(cluster):
    answers = {
        # ready, runs, gone (gcloud itself ends with 1 then), deleted, not there, made, ready, runs to the end
        "gcloud describe": [READY, PREEMPTED, PREEMPTED, MISSING, MISSING, READY],
        "gcloud ssh": [{"code": 1}, {"code": 0}],
        "gcloud create": [{"code": 1}, {"code": 0}],  # no slice is free at first
    }
    assert cluster.run("tpu_vm.sh", "train", answers=answers) == 0
    assert [words[-1] for words, _ in cluster.calls("gcloud delete")] == ["--quiet"]
    assert len(cluster.calls("gcloud create")) == 2
    assert len(cluster.calls("gcloud ssh")) == 2


def test_tpu_vm_ends_where_the_slice_cannot_be_made_at_first(cluster):
    answers = {"gcloud describe": [MISSING], "gcloud create": [{"code": 1}]}
    assert cluster.run("tpu_vm.sh", "train", answers=answers) == 1
    assert len(cluster.calls("gcloud create")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_tpu_vm_has_the_machines_save_when_it_is_stopped(cluster, number):
    answers = {
        "gcloud describe": [READY],
        "gcloud ssh": [{"until": "stopped", "code": 75}],
        "gcloud pkill": [{"touch": "stopped"}],
    }
    process = cluster.start("tpu_vm.sh", "train", answers=answers)
    while not cluster.calls("gcloud ssh"):
        time.sleep(0.05)
        assert process.poll() is None
    # A terminal sends Ctrl-C to all of its group, `kill` to one process.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == 75
    [(words, _)] = cluster.calls("gcloud pkill")
    assert "--worker=all" in words
    pattern = re.fullmatch(r"pkill -TERM -f '(.*)'", after("command", words))[1]
    assert re.search(pattern, "/home/me/lcjax-venv/bin/python3 /home/me/lcjax-venv/bin/lcjax train")
    assert not re.search(pattern, after("command", words))  # not the shell that runs it
    assert len(cluster.calls("gcloud ssh")) == 1


# ---------------------------------------------------------------- GKE

GPUS = {
    "HOSTS": "2",
    "NODES": "cloud.google.com/gke-accelerator: nvidia-h100-80gb",
    "DEVICES": "nvidia.com/gpu: 8",
    "VOLUME": 'csi: {driver: gcsfuse.csi.storage.gke.io, volumeAttributes: {bucketName: b, mountOptions: "a:b:0,c"}}',
}


def manifest(cluster, *words, **settings):
    assert cluster.run("gke.sh", *(words or ("train",)), **settings) == 0, cluster.output
    [(arguments, text)] = cluster.calls("kubectl")
    assert arguments == ["apply", "-f", "-"]
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def job_of(documents):
    [replicated] = documents["JobSet"]["spec"]["replicatedJobs"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, **replicated["template"]}


def container_of(documents):
    [container] = job_of(documents)["spec"]["template"]["spec"]["containers"]
    return container


# The fields of jobset.x-k8s.io/v1alpha2 that the manifest may use, with their types or values, from
# https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2/; "!" marks those that must be there. The template of a job
# is checked as a Job.
ACTIONS = {
    "FailJobSet",
    "RestartJobSet",
    "RestartJobSetAndIgnoreMaxRestarts",
    "RestartJob",
    "RestartJobAndIgnoreMaxRestarts",
}
REASONS = {
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
}
JOBSET = {
    "apiVersion!": {"jobset.x-k8s.io/v1alpha2"},
    "kind!": {"JobSet"},
    "metadata!": dict,
    "spec!": {
        "failurePolicy": {
            "maxRestarts": int,
            "restartStrategy": {"Recreate", "BlockingRecreate", "InPlaceRestart"},
            "rules": [
                {
                    "name!": str,
                    "action!": ACTIONS,
                    "onJobFailureReasons": [REASONS],
                    "onJobFailureMessagePatterns": [str],
                    "targetReplicatedJobs": [str],
                }
            ],
        },
        "network": {"enableDNSHostnames": bool, "publishNotReadyAddresses": bool, "subdomain": str},
        "replicatedJobs!": [{"name!": str, "replicas": int, "template!": dict}],
        "successPolicy": {"operator!": {"All", "Any"}, "targetReplicatedJobs": [str]},
        "suspend": bool,
        "ttlSecondsAfterFinished": int,
    },
}


def faults(found, wanted, place=""):
    """What is wrong with a value by a description like the one above."""
    if isinstance(wanted, type):
        return [] if type(found) is wanted else [f"{place}: {found!r} is no {wanted.__name__}"]
    if isinstance(wanted, set):
        return [] if found in wanted else [f"{place}: {found!r} is none of {sorted(wanted)}"]
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return [f"{place}: no list"]
        return [fault for i, item in enumerate(found) for fault in faults(item, wanted[0], f"{place}[{i}]")]
    known = {key.rstrip("!"): value for key, value in wanted.items()}
    return [
        *(f"{place}.{key[:-1]}: missing" for key in wanted if key.endswith("!") and key[:-1] not in found),
        *(f"{place}.{key}: unknown" for key in found if key not in known),
        *(fault for key in found if key in known for fault in faults(found[key], known[key], f"{place}.{key}")),
    ]


@pytest.mark.parametrize("settings", [{}, GPUS], ids=["tpu", "gpu"])
def test_gke_manifest_is_valid(cluster, settings):
    documents = manifest(cluster, **settings)
    assert set(documents) == {"ServiceAccount", "Role", "RoleBinding", "JobSet"}
    assert faults(documents["JobSet"], JOBSET) == []
    for rule in documents["JobSet"]["spec"]["failurePolicy"]["rules"]:
        assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
    for document in (job_of(documents), *(documents[kind] for kind in ("ServiceAccount", "Role", "RoleBinding"))):
        for version in ("1.31.0", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)


def test_the_checks_of_the_manifest_can_fail(cluster):
    documents = manifest(cluster)
    wrong = json.loads(json.dumps(documents["JobSet"]))
    wrong["spec"]["failurePolicy"]["rules"][0]["action"] = "Restart"
    wrong["spec"]["maxRestarts"] = 3
    del wrong["spec"]["replicatedJobs"][0]["name"]
    assert sorted(fault.split(": ")[0] for fault in faults(wrong, JOBSET)) == [
        ".spec.failurePolicy.rules[0].action",
        ".spec.maxRestarts",
        ".spec.replicatedJobs[0].name",
    ]
    job = job_of(documents)
    job["spec"]["template"]["spec"]["podFailurePolicy"] = job["spec"].pop("podFailurePolicy")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.31.0", strict=True)


def test_gke_passes_the_arguments_on(cluster):
    words = [*HARD, "$NAME", "$(JAX_COMPILATION_CACHE_DIR)", "a$$b$", "ü: {a}"]
    documents = manifest(cluster, *words)
    variables = {variable["name"]: variable["value"] for variable in container_of(documents)["env"]}

    def expanded(word):
        """What Kubernetes makes of a word of args: $$ is a dollar, $(X) the variable X where the container has one."""
        return re.sub(r"\$\$|\$\((\w+)\)", lambda m: variables.get(m[1], m[0]) if m[1] else "$", word)

    assert [expanded(word) for word in container_of(documents)["args"]] == words
    assert "command" not in container_of(documents)  # the entry point of the image


@pytest.mark.parametrize("settings", [{}, GPUS], ids=["tpu", "gpu"])
def test_gke_one_pod_for_each_machine_with_all_its_devices(cluster, settings):
    documents = manifest(cluster, NAME="mine", IMAGE="an/image:2", **settings)
    spec = job_of(documents)["spec"]
    hosts, nodes, devices = (4, "tpu-v5-lite-podslice", {"google.com/tpu": 4})
    if settings:
        hosts, nodes, devices = (2, "nvidia-h100-80gb", {"nvidia.com/gpu": 8})
    assert (spec["parallelism"], spec["completions"], spec["completionMode"]) == (hosts, hosts, "Indexed")
    assert nodes in spec["template"]["spec"]["nodeSelector"].values()
    assert container_of(documents)["resources"] == {"limits": devices}
    assert container_of(documents)["image"] == "an/image:2"
    assert documents["JobSet"]["metadata"]["name"] == "mine"
    volumes = {volume.pop("name"): volume for volume in spec["template"]["spec"]["volumes"]}
    assert set(volumes["shared"]) == {"csi" if settings else "persistentVolumeClaim"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(documents)["volumeMounts"]}
    assert mounts == {"shared": "/mnt/lcjax", "memory": "/dev/shm"}
    [cache] = container_of(documents)["env"]
    assert cache["value"].startswith(mounts["shared"])


def test_gke_pods_may_ask_what_jax_asks(cluster):
    """The calls of jax's Kubernetes detection: list_namespaced_pod, list_namespaced_service, read_namespaced_job."""
    documents = manifest(cluster, NAME="mine")
    allowed = {
        (group, resource, verb)
        for rule in documents["Role"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert allowed == {("", "pods", "list"), ("", "services", "list"), ("batch", "jobs", "get")}
    assert documents["RoleBinding"]["roleRef"]["name"] == documents["Role"]["metadata"]["name"] == "mine"
    [subject] = documents["RoleBinding"]["subjects"]
    account = job_of(documents)["spec"]["template"]["spec"]["serviceAccountName"]
    assert subject["name"] == account == documents["ServiceAccount"]["metadata"]["name"]


def consequence(documents, code=None, disrupted=False):
    """What happens after a pod ended, by the documented rules: the first one that fits, of the job, then of the set."""
    job = job_of(documents)["spec"]
    reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    for index, rule in enumerate(job["podFailurePolicy"]["rules"]):
        by_code = rule.get("onExitCodes")
        if by_code and by_code["operator"] == "In" and code in by_code["values"]:
            reason, message = "PodFailurePolicy", f"Container lcjax for pod a/b failed with exit code {code} matching "
            message += f"{rule['action']} rule at index {index}"
            break
        if disrupted and {"type": "DisruptionTarget", "status": "True"} in rule.get("onPodConditions", []):
            reason = "PodFailurePolicy"
            message = f"Pod a/b has condition DisruptionTarget matching {rule['action']} rule at index {index}"
            break
    for rule in documents["JobSet"]["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule["onJobFailureReasons"] and any(re.search(pattern, message) for pattern in patterns):
            return rule["action"]
    return "RestartJobSet"  # and counts


@pytest.mark.parametrize(
    ("code", "disrupted", "follows"),
    [
        (1, False, "RestartJobSet"),
        (2, False, "FailJobSet"),
        (3, False, "FailJobSet"),
        (4, False, "RestartJobSet"),
        (75, False, "RestartJobSetAndIgnoreMaxRestarts"),
        (75, True, "RestartJobSetAndIgnoreMaxRestarts"),
        (137, False, "RestartJobSet"),
        (137, True, "RestartJobSetAndIgnoreMaxRestarts"),
        (None, True, "RestartJobSetAndIgnoreMaxRestarts"),
    ],
)
def test_gke_after_each_exit_code(cluster, code, disrupted, follows):
    documents = manifest(cluster)
    assert consequence(documents, code, disrupted) == follows
    # Else a pod would be started anew beside others that cannot take it in.
    assert job_of(documents)["spec"]["backoffLimit"] == 0
    assert job_of(documents)["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_gke_shows_the_manifest(cluster):
    assert cluster.run("gke.sh", "train", APPLY="cat") == 0
    assert [document["kind"] for document in yaml.safe_load_all(cluster.output)][-1] == "JobSet"
    assert not cluster.calls("kubectl")


def test_the_linter_of_images_finds_nothing():
    hadolint = pathlib.Path(sys.executable).parent / "hadolint"
    found = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_the_image_has_all_that_is_installed():
    lines = [line.split() for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and line[0] != "#"]
    copied = {word for line in lines if line[0] == "COPY" for word in line[1:-1]}
    assert all((ROOT / name).exists() for name in copied)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = {name.split(".")[0] for name in setup["options"]["packages"].split()}
    folders |= {line.split(" = ")[1] for line in setup["options"]["package_dir"].split("\n") if line}
    assert folders | {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "constraints"} == copied
