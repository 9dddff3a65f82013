"""A run that draws its records: what its card and log say, and what is refused."""

import itertools
import json

import numpy as np
import pytest
from networks import small

from data_pipelines.reading import loader
from data_pipelines.reading.arrays import from_arrays
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020, pretrain, rasters
from lcjax.engine import experiment as experiments
from lcjax.runs import model_card as cards
from lcjax.training.run import train


def config_of(data_dir, name="rarity"):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.sampling.name, config.sampling.strength = name, 1.0
    return config


def test_off_by_default(data_dir):
    experiment = experiments.build(small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir))
    assert experiment.order is None and experiment.card.sampling is None


def test_a_run_draws_by_its_table_and_says_so(data_dir, tmp_path, capsys):
    config = config_of(data_dir)
    config.total, config.evaluate_every = "1 steps", "1 steps"
    experiment = experiments.build(config)
    batches = experiment.train_batches(16)
    batch = next(batches)
    batches.close()
    source = experiment.train_source
    plain = experiments.build(config_of(data_dir, "uniform"))
    drawn = [loader.record_index(p, len(source), config.seed, experiment.order) for p in range(16, 24)]
    assert drawn != [loader.record_index(p, len(source), config.seed, plain.order) for p in range(16, 24)]
    for row, record in enumerate(drawn):
        top, left = loader.corner(16 + row, source.tile, 32, config.seed)
        np.testing.assert_array_equal(batch["label"][row], source.read(record, ["label"], (top, left), 32)["label"])

    train(config, tmp_path / "run")
    said = capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["sampling"] == experiment.order.facts
    assert "drawn by rarity of strength 1, with replacement; the most frequent one " in said
    assert f"(table {card['sampling']['table']})" in said and said.index("of drawn pixels") < said.index(
        "step compiled"
    )


def test_a_run_is_ordered_by_its_groups_and_says_so(data_dir, tmp_path, capsys, command):
    """Validation and test are two scenes of the sample: eight records, and four."""
    config = config_of(data_dir, "spread_groups")
    config.split.train, config.split.validation = "validation+test", ""
    config.total = "1 steps"
    train(config, tmp_path / "run")
    said = capsys.readouterr().out
    card = cards.read(tmp_path / "run")
    assert card.sampling is None
    assert (card.order["name"], card.order["groups"], card.order["largest"]) == ("spread_groups", 2, 8)
    assert "12 records, of 2 groups of up to 8, come once an epoch" in said
    assert said.index(f"(table {card.order['table']})") < said.index("step compiled")
    experiment = experiments.build(config)
    source = experiment.train_source
    wanted = [source.ids[experiment.order.index(position, config.seed)] for position in range(12)]
    assert sorted(wanted) == sorted(source.ids)
    assert loader.record_ids(source, range(12), config.seed, experiment.order) == wanted
    scenes = ["test" in record for record in wanted]
    assert not any(one and other for one, other in itertools.pairwise(scenes))  # every third, not two in a row
    code, out, _ = command("info", str(tmp_path / "run"))
    assert code == 0 and "ordered     by spread_groups: 2 groups of up to 8 records" in out


def test_data_in_memory_are_drawn_too():
    rng = np.random.default_rng(0)
    masks = np.zeros((12, 32, 32), np.int64)
    masks[3] = 1
    data = from_arrays({"train": (rng.integers(0, 255, (12, 32, 32, 3), np.uint8), masks)}, ["land", "water"])
    config = rasters.get_config("model=unet,tiny=true,validation=none")
    config.crop, config.batch_size, config.split.test = 32, 8, "train"
    config.sampling.name, config.sampling.strength = "class_presence", 1.0
    experiment = experiments.build(config, data)
    np.testing.assert_allclose(experiment.order.weights[3] / experiment.order.weights.sum(), 0.5)
    batches = experiment.train_batches(0)
    seen = np.concatenate([next(batches)["label"][:, 0, 0] for _ in range(20)])
    batches.close()
    assert 0.35 < (seen == 1).mean() < 0.65


def test_what_has_no_labels_is_refused(data_dir, tmp_path):
    config = small(pretrain.get_config("data=sample,tiny=true"), data_dir)
    config.split.validation = "unlabelled"  # of which a tenth is one place here
    config.sampling.name = "class_presence"
    with pytest.raises(InputError, match=r"config\.sampling\.name='class_presence': no record of split 'unlabelled"):
        experiments.build(config)
    config.sampling.name, config.split.train = "spread_groups", "unlabelled"  # which needs none
    assert experiments.build(config).order
    config.sampling.name = "class_presence"
    config.split.train = "validation"  # which has labels, that the task does not read
    for folder in (data_dir, tmp_path):
        config.data_dir = str(folder)
        with pytest.raises(InputError, match="draws records by their labels, and a contrastive run reads none"):
            experiments.build_to_measure(config)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (
            "name",
            "rarety",
            r"config\.sampling\.name='rarety': expected uniform, spread_groups, class_presence or rarity",
        ),
        ("strength", 0.0, r"config\.sampling\.strength=0\.0: expected above 0 and at most 4"),
        ("strength", 4.5, r"config\.sampling\.strength=4\.5: expected above 0 and at most 4"),
    ],
)
def test_other_values_are_refused(data_dir, field, value, words):
    config = config_of(data_dir)
    config.sampling[field] = value
    with pytest.raises(InputError, match=words):
        experiments.build(config)


def test_every_process_must_have_the_same_table(data_dir):
    """Processes compare their cards: with other labels the card is another one."""
    cards = [experiments.build(config_of(data_dir, name)).card for name in ("rarity", "class_presence")]
    assert cards[0].sampling["table"] != cards[1].sampling["table"]
    assert open_dataset(data_dir, "sample").split_id("validation[:80%]") == cards[0].splits["train"]["id"]
