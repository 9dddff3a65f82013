"""`lcjax download`: the files of a published data set, from its provider."""

from data_pipelines.datasets import registry as datasets
from data_pipelines.schema import paths, plugins
from data_pipelines.schema.errors import InputError

HELP = """Downloads the files of a published data set from its provider, as `lcjax prepare` reads them.

  lcjax download --dataset=flair1                                          # terms, parts, sizes, addresses; no download
  lcjax download --dataset=flair1 --part=toy --output=~/downloads/flair-1
  lcjax download --dataset=sen12ms --part=spring,summer/s1,summer/s2 --output=/data/sen12ms

Before the first byte the servers are asked how long the files are, and the disk whether there is room. A file is called
NAME.part until it is whole. Broken off, stopped or killed, the same command goes on in the middle of it, if the server
still has the same file. Whole, its length and kind are checked, and its SHA-256 where the provider publishes one; what
is in archives `lcjax prepare` checks. Files that are there are compared with the sum, or else with the length that the
server says, and stay.

The licence is between you and the provider; the command shows where its terms are. Where a provider asks for an
account, as that of dfc2020 does, it shows the steps that people take. Beside the addresses stands when they were read,
and whether a download has succeeded since.
"""


def define_flags(flags) -> None:
    """Declares the verb's flags on absl's `flags` module."""
    known = ", ".join(name for name, spec in datasets.DATASETS.items() if spec.downloads)
    flags.DEFINE_string("dataset", None, f"What is downloaded: {known}, or package.module:attribute (a DatasetSpec).")
    flags.DEFINE_string("output", None, "The folder that the files come into; without it they are only listed.")
    flags.DEFINE_list(
        "part", [], "Some parts, as they are listed, separated by commas; without it all but those on request."
    )


def run(flags) -> None:
    """Lists what there is, or downloads it. Raises InputError for what the user can put right."""
    from data_pipelines.prepare import download

    if not flags.dataset:
        raise InputError("--dataset is missing; expected for example --dataset=flair1 (lcjax download --help)")
    plugins.allow_named_in({"dataset": flags.dataset})
    spec, downloads = download.known(flags.dataset)
    print(download.text(spec, downloads), flush=True)
    if not flags.output and not flags.part:
        return
    wanted = download.chosen(flags.dataset, downloads, flags.part)
    if not flags.output:
        raise InputError(f"--output is missing; expected for example --output=downloads/{spec.name}")
    output = paths.given(flags.output, "--output")
    download.download(wanted, output)
    print(f"next: lcjax prepare --dataset={flags.dataset} --source={output} --data_dir=DATA_DIR")
