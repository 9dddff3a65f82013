"""Whether the records that watch a training are of images that it learns from."""

from data_pipelines.reading.interfaces import Dataset


def warning(dataset: Dataset, train: str, validation: str) -> str:
    """Returns a warning where two parts of one stored split hold tiles of the same images; empty where they do not.

    Tiles of one image overlap, so that a part of what watches has been seen. Blocks of one mosaic are splits of their
    own, with a margin between them.
    """
    if not validation or not _stored(train) & _stored(validation):
        return ""
    of_train, of_validation = ({one.source for one in dataset.origins(spec)} - {""} for spec in (train, validation))
    if not (shared := of_train & of_validation):
        return ""
    return (
        f"the splits {train!r} (train) and {validation!r} (validation) both hold tiles of {len(shared)} images, as of "
        f"{min(shared)}: what is measured on the second has been seen in part, and looks better than on other ground"
    )


def _stored(spec: str) -> set[str]:
    """The stored splits that a split is made of."""
    return {part.partition("[")[0].strip() for part in spec.split("+")}
