"""Where DFC2020 can be had: its provider asks for an account."""

from data_pipelines.schema.spec import Downloads

DOWNLOADS = Downloads(
    source="https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-contest",
    listed="",
    steps=(
        "Register at https://ieee-dataport.org (free) and log in.",
        "Open https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-contest and read the terms.",
        "Download the archives of the validation and the test part into one folder; the labels of the test part are "
        "reported to be in an archive of their own (dfc_0).",
        "lcjax prepare --dataset=dfc2020 --source=FOLDER --data_dir=DATA_DIR, with the archives as they are.",
    ),
)
