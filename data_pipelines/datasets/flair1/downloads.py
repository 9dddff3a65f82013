"""Where FLAIR-1 can be had: IGN's zips of images and of labels. Its zips by domain: README.md."""

from data_pipelines.schema.spec import Downloads, RemoteFile

_SERVER = "https://storage.gra.cloud.ovh.net/v1/AUTH_366279ce616242ebb14161b7991a8461/defi-ia/flair_data_1"

DOWNLOADS = Downloads(
    source="https://github.com/IGNF/FLAIR-1 (README)",
    listed="2026-11-29",
    files=(
        RemoteFile(part="train/images", url=f"{_SERVER}/flair_aerial_train.zip", size="50.7 GB"),
        RemoteFile(part="train/labels", url=f"{_SERVER}/flair_labels_train.zip", size="485 MB"),
        RemoteFile(part="test/images", url=f"{_SERVER}/flair_1_aerial_test.zip", size="13.4 GB"),
        RemoteFile(part="test/labels", url=f"{_SERVER}/flair_1_labels_test.zip", size="124 MB"),
        RemoteFile(part="metadata", url=f"{_SERVER}/flair-1_metadata_aerial.zip", size="16.1 MB"),
        RemoteFile(part="toy", url=f"{_SERVER}/flair_1_toy_dataset.zip", size="215 MB", on_request=True),
    ),
)
