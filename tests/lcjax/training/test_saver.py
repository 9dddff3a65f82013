"""Who goes on with what does not fit its checkpoint, or has lost one, is told which."""

import shutil

import pytest
from networks import small

from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020
from lcjax.engine import restore
from lcjax.runs import checkpoints
from lcjax.training.run import train


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (
            "model.base",
            6,
            r"cannot go on with config\.model\.base \(there \d+, now 6\), as its checkpoint of step \d+ holds other "
            r"arrays, the first: model parameters\.\S+ \(in the checkpoint \(.*\), now \(.*\)\); put that back",
        ),
        (
            "optimizer.name",
            "sgd",
            r"cannot go on with config\.optimizer\.name \(there 'adamw', now 'sgd'\), .*: optimizer \S+ \(in the "
            r"checkpoint .*, now absent\)",
        ),
        (
            "optimizer.ema_decay",
            0.9,
            r"cannot go on with config\.optimizer\.ema_decay \(there 0\.0, now 0\.9\), .*: optimizer \S+ \(in the "
            r"checkpoint .*, now absent\)",
        ),
    ],
)
def test_another_network_or_optimizer_is_told_by_its_field(trained, data_dir, tmp_path, field, value, words):
    run = shutil.copytree(trained, tmp_path / "run")
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.update_from_flattened_dict({field: value})
    config.total = "900 steps"
    before = (run / "config.json").read_bytes()
    with pytest.raises(InputError, match=words) as caught:
        train(config, run, allow_other_config=True)
    assert "total" not in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert (run / "config.json").read_bytes() == before and restore.restore(run, "last")


def test_a_best_checkpoint_that_is_gone(trained, data_dir, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    last, best = (checkpoints.steps(run, kind)[-1] for kind in checkpoints.KINDS)
    shutil.rmtree(run / "checkpoints" / "best")
    with pytest.raises(InputError, match=r"best: no such folder; take --checkpoint=last, or put back what was there"):
        restore.restore(run, "best")
    train(small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir), run)
    said = capsys.readouterr().out
    if best == last:
        assert "was put back" in said and restore.restore(run, "best").step == last
    else:
        assert "take the last with --checkpoint=last" in said and not checkpoints.steps(run, "best")
        with pytest.raises(InputError, match=r"best: no whole checkpoint; take --checkpoint=last"):
            restore.restore(run, "best")
