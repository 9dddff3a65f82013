"""What jax finds out where a cluster started several processes: two real processes each time, in the environment that
the cluster would give them, become one system.

Faked are the clusters: variables, a metadata server, a client of Kubernetes. Real are jax's detection and the joining.
What cannot be faked: that the variables are these on a cluster of today, names that only its DNS knows, the chips of a
TPU and the network between them.
"""

import contextlib
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

JOIN = (
    "import jax, types; from lcjax.parallel import multihost; "
    "multihost.join('auto', types.SimpleNamespace(join_timeout=60, loss_timeout=30), asks=True)"
)

# What each process does. `fake` is a line of a test, for what the cluster's own libraries would find there.
CHILD = """
{fake}
{join}
import json
import pathlib
import jax
from jax.experimental import multihost_utils
together = multihost_utils.process_allgather(jax.numpy.array([jax.process_index() + 1]))
found = [jax.process_index(), jax.process_count(), jax.device_count(), together.ravel().tolist()]
pathlib.Path({found!r}).write_text(json.dumps(found))
jax.distributed.shutdown()
"""


@pytest.fixture
def together(tmp_path):
    """Runs one process for each environment; returns what each found."""

    def run(environments, fake=""):
        theirs = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_", "KUBERNETES_"))}
        theirs |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "LCJAX_NOTES": "2"}
        # Not by what they print: the library by which CPUs talk to each other prints too.
        results = [tmp_path / f"{i}.json" for i in range(len(environments))]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD.format(fake=fake, join=JOIN, found=str(result))],
                env=theirs | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for result, environment in zip(results, environments, strict=True)
        ]
        try:
            printed = [process.communicate(timeout=120)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(printed)
        return [json.loads(result.read_text()) for result in results]

    return run


# index, processes, devices (two each), and what both know of both
ONE_SYSTEM = [[0, 2, 4, [1, 2]], [1, 2, 4, [1, 2]]]


def free_port(first=1024, last=65535):
    """A port of this machine that nobody listens at."""
    for port in range(first + os.getpid() % 1000, last):
        with socket.socket() as taken:
            if taken.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


# Slurm and Open MPI: jax makes the port from the number of the job, one of 4096 ports.
FIRST_PORT = 65536 - 4096


@pytest.mark.parametrize("nodes", ["localhost", "localhost,node[07-12]"])
def test_slurm(nodes, together):
    job = free_port(FIRST_PORT) - FIRST_PORT + 5 * 4096
    step = {"SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": nodes, "SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "2"}
    found = together([step | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(2)])
    assert found == ONE_SYSTEM


def test_open_mpi(together):
    job = (free_port(FIRST_PORT) - FIRST_PORT) * 4096
    common = {
        "OMPI_MCA_orte_hnp_uri": f"{job}.0;tcp://127.0.0.1,10.99.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
    }
    ranks = [{"OMPI_COMM_WORLD_RANK": str(i), "OMPI_COMM_WORLD_LOCAL_RANK": str(i)} for i in range(2)]
    found = together([common | rank for rank in ranks])
    assert found == ONE_SYSTEM


# Stands for the client of Kubernetes and its API server, which jax asks for the pod with its own address, the job of
# the pod, and services; and for two things of a pod: the file with the name of its namespace, and the DNS of the
# cluster, by which only the address of this machine is known here.
KUBERNETES = """
import builtins, io, json, os, socket
from types import SimpleNamespace as Object

of_set = {"jobset.sigs.k8s.io/jobset-name": "lcjax"}
pod = Object(
    metadata=Object(
        name="lcjax-run-0-0-x7",
        labels={"job-name": "lcjax-run-0", **of_set},
        owner_references=[Object(controller=True, kind="Job")],
    ),
    spec=Object(subdomain="lcjax"),
)
job = Object(metadata=Object(name="lcjax-run-0", labels=of_set), spec=Object(parallelism=2))

class CoreV1Api:
    def list_namespaced_pod(self, namespace, field_selector):
        assert (namespace, field_selector) == ("mine", "status.podIP=127.0.0.1")
        return Object(items=[pod])

    def list_namespaced_service(self, namespace):
        return Object(items=[])

class BatchV1Api:
    def read_namespaced_job(self, name, namespace):
        assert (name, namespace) == ("lcjax-run-0", "mine")
        return job

class ApiException(Exception):
    pass

config = Object(load_incluster_config=lambda: None)
client = Object(CoreV1Api=CoreV1Api, BatchV1Api=BatchV1Api, exceptions=Object(ApiException=ApiException))

real_open, real_lookup = builtins.open, socket.gethostbyname

def with_namespace(path, *arguments, **settings):
    if path == "/var/run/secrets/kubernetes.io/serviceaccount/namespace":
        return io.StringIO("mine\\n")
    return real_open(path, *arguments, **settings)

builtins.open = with_namespace
names = ("lcjax-run-0-0", "lcjax-run-0-1", "lcjax-run-0-0.lcjax")
socket.gethostbyname = lambda name: "127.0.0.1" if name in names else real_lookup(name)
"""


@pytest.fixture
def kubernetes(tmp_path):
    (tmp_path / "kubernetes.py").write_text(KUBERNETES)
    root = pathlib.Path(__file__).parents[3]
    return [
        {
            "PYTHONPATH": f"{tmp_path}:{root}",
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "HOSTNAME": f"lcjax-run-0-{i}",
            "JOB_COMPLETION_INDEX": str(i),
        }
        for i in range(2)
    ]


def test_kubernetes_count_and_index(kubernetes, together):
    """The pods of a JobSet. The address is given, because no DNS of a cluster is here; the test below looks at it."""
    address = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port(20000)}"}
    found = together([pod | address for pod in kubernetes])
    assert found == ONE_SYSTEM


def test_kubernetes_address(kubernetes):
    """The first pod of the set by its name in the headless service of the set, as jax's log tells."""
    code = "import logging, jax; logging.basicConfig(level=logging.INFO)\n"
    code += "jax.distributed.initialize(initialization_timeout=1)"
    environment = {**os.environ, **kubernetes[1], "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0
    assert "lcjax-run-0-0.lcjax:55527" in ended.stderr


# Stands for the chips: jax looks for the hosts of a slice only where it is told that there are some.
CHIPS = 'import os; os.environ["JAX_FORCE_TPU_INIT"] = "1"; import jax; os.environ.pop("TPU_SKIP_MDS_QUERY", None)'


class Metadata(http.server.BaseHTTPRequestHandler):
    """The metadata server of Google Compute Engine, as a machine sees it that has these values."""

    def do_GET(self):
        value = self.server.values.get(self.path.removeprefix("/computeMetadata/v1/instance/attributes/"))
        self.send_response(404 if value is None else 200)
        self.end_headers()
        self.wfile.write((value or "").encode())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def metadata(machines):
    """For each machine the variable that has jax ask a server of its own."""
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) for _ in machines]
    for server, values in zip(servers, machines, strict=True):
        server.values = values
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [{"GCE_METADATA_IP": "{}:{}".format(*server.server_address)} for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_tpu_vm(together):
    endpoints = "unknown:unknown:127.0.0.1,unknown:unknown:127.0.0.1"
    machines = [{"agent-worker-number": str(i), "worker-network-endpoints": endpoints, "tpu-env": ""} for i in range(2)]
    port = {"JAX_COORDINATOR_PORT": str(free_port(22000))}
    with metadata(machines) as environments:
        assert together([port | environment for environment in environments], CHIPS) == ONE_SYSTEM


def test_tpu_slice_on_gke(together):
    """The variables that GKE gives the pods of a slice; its metadata server knows no number of a machine."""
    slice = {
        "TPU_WORKER_HOSTNAMES": "localhost,localhost",
        "JAX_COORDINATOR_PORT": str(free_port(21000)),
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",  # as in every pod; no client of Kubernetes is needed
    }
    with metadata([{"tpu-env": ""}] * 2) as environments:
        pods = [slice | {"TPU_WORKER_ID": str(i)} | environment for i, environment in enumerate(environments)]
        assert together(pods, CHIPS) == ONE_SYSTEM
