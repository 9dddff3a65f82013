"""`lcjax evaluate`: the scores of a trained network, every pixel of a split once."""

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError

HELP = """Scores a trained network on a split, every pixel once: whole tiles, or blended windows of config.window.

  lcjax evaluate --workdir=runs/unet                       the test split, by the best checkpoint
  lcjax evaluate --workdir=runs/unet,runs/swin_unet --split=validation --checkpoint=last
  lcjax evaluate --workdir=runs/unet --calibrate
  lcjax evaluate --workdir=runs/unet --dataset=rasters/other_town --split=test --data_dir=data

With --calibrate it first fits a temperature to the validation split, by which `lcjax predict` divides logits before it
writes probabilities, and the thresholds of conformal sets (WORKDIR/calibration.json; docs/calibration.md). Scores then
say how far the probabilities can be believed, before and after.

With --dataset it scores any prepared data whose sensors and bands the network knows, over the classes of equal name
(upper and lower case are alike), which are listed: how well it does in another place. --split then names records of
that data set: test, "validation[:50%]", fold_2. docs/scores.md says what is counted.

Where the data set has legends of fewer classes, such as FLAIR-1 over 12, 13 and 15, the scores over them stand beside:
mIoU_12 and mIoU_13 are of different class sets. `lcjax info protocols` lists published splits and classes.

A classification run is scored by whole patches (docs/classification.md), on the splits of its own data set.

--boundary=2% adds boundary IoU (Cheng et al. 2021), --objects=10,100,1000 how many objects (connected areas of one
class) are found by their size in pixels; docs/scores.md says what they cost.

Scores are printed with their 95 % intervals: how far they would be off on other places of the same kind, by drawing
the groups of the split (scenes, zones) again. To compare two runs, see `lcjax report`.

Writes WORKDIR/evaluation/SPLIT/: metrics.json (scores and intervals with their class set, absent classes, ignored ids,
pixels, split and checkpoint), confusion.csv, confusion.png, record_confusions.npz (the counts of each record),
places.csv and places.geojson (scores by scene or zone; a layer for QGIS), and samples.npz for `lcjax report`."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    flags.DEFINE_string("workdir", None, "Workdirs of training runs, separated by commas.")
    flags.DEFINE_string(
        "split", "test", "Which split of the run's config: train, validation or test; with --dataset a split of that."
    )
    flags.DEFINE_string("dataset", None, "Another prepared data set to score, such as rasters/other_town.")
    flags.DEFINE_string("checkpoint", "best", "Which checkpoint: best or last.")
    flags.DEFINE_bool("calibrate", False, "Fit the probabilities to the validation split first.")
    flags.DEFINE_string("data_dir", None, "Folder of the prepared data sets, if it is not where it was in training.")
    flags.DEFINE_string(
        "boundary", None, 'Also boundary IoU, within this distance of contours: "2%" of a tile\'s diagonal, or "3px".'
    )
    flags.DEFINE_string(
        "objects", None, "Also the recall of objects, in size classes that begin at these pixels: 10,100,1000."
    )


def run(flags) -> None:
    """Runs the verb."""
    if not flags.workdir:
        raise InputError("evaluate needs --workdir, e.g. --workdir=runs/unet")
    if flags.calibrate and flags.dataset:
        raise InputError(
            f"--calibrate with --dataset={flags.dataset}: found both; a temperature is fitted on the validation split "
            "of the run itself; calibrate without --dataset, then score with it"
        )
    from lcjax.evaluation.calibrate import evaluate_calibrated
    from lcjax.evaluation.elsewhere import evaluate_elsewhere
    from lcjax.evaluation.evaluate import evaluate
    from lcjax.evaluation.further import Further

    further = Further.asked(flags.boundary, flags.objects)
    for text in paths.several(flags.workdir, "--workdir"):
        folder = paths.given(text, "--workdir")
        if flags.calibrate:
            evaluate_calibrated(folder, flags.split, flags.checkpoint, flags.data_dir, further=further)
        elif flags.dataset:
            evaluate_elsewhere(folder, flags.dataset, flags.split, flags.checkpoint, flags.data_dir, further=further)
        else:
            evaluate(folder, flags.split, flags.checkpoint, flags.data_dir, further=further)
