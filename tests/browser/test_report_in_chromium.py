"""The page of a report in a real browser: what it shows are the numbers of the files, and nothing goes wrong."""

import json

import numpy as np
import pytest
from finished import make_pretraining, make_report, make_run, seal

from data_pipelines.datasets.contest_legend import DFC2020

pytestmark = [pytest.mark.slow, pytest.mark.browser]
EVIL = "p0</script><script>document.title = 1</script>"
SIDE = 16
COLOURS = {c.id: tuple(bytes.fromhex(c.colour[1:])) for c in DFC2020.classes}
NAMES = {c.id: c.name for c in DFC2020.scored}


def predict(run, seed: int) -> dict[str, np.ndarray]:
    """Gives a run other predictions than the truth, and a confidence; returns its samples."""
    file = run / "evaluation" / "test" / "samples.npz"
    with np.load(file) as arrays:
        kept = dict(arrays)
    rng = np.random.default_rng(seed)
    other = rng.choice([c.id for c in DFC2020.scored], kept["truth"].shape).astype(np.uint8)
    kept["prediction"] = np.where(rng.random(other.shape) < 0.4, other, kept["prediction"])
    kept["ids"] = np.array([EVIL, "p1"])
    kept["confidence"] = rng.integers(30, 251, other.shape).astype(np.uint8)
    np.savez(file, **kept)
    seal(file.parent)
    return kept


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page of three runs, and the samples of the two with pictures."""
    root = tmp_path_factory.mktemp("page")
    samples = {}
    for seed, name in enumerate(("alpha", "<i>beta & <b>")):
        run = make_run(root / "runs" / name, seed, parameters=10**seed)
        if seed == 0:
            samples["truth"] = predict(run, 7)
        else:
            with np.load(root / "runs" / "alpha" / "evaluation" / "test" / "samples.npz") as first:
                shared = {key: first[key] for key in ("ids", "image", "truth")}
            file = run / "evaluation" / "test" / "samples.npz"
            np.savez(file, **shared, prediction=shared["truth"])
            seal(file.parent)
    make_run(root / "runs" / "forest", 2, baseline=True)
    make_pretraining(root / "runs" / "pretrain")
    make_report(f"{root}/runs/*", root / "out")
    return (root / "out" / "index.html"), samples["truth"], root


@pytest.fixture
def opened(tab, made):
    tab.page.goto(made[0].as_uri())
    tab.page.wait_for_selector(".explorer canvas")
    tab.page.locator(".explorer label:has-text('run') select").select_option(label="alpha")
    tab.settle()
    return tab


def pixels(tab, pane: int) -> np.ndarray:
    """The colour in the middle of each pixel of the ground as a pane shows it, (16, 16, 4) uint8."""
    flat = tab.page.evaluate(
        """([pane, side]) => {
          const canvas = document.querySelectorAll(".explorer canvas")[pane];
          const context = canvas.getContext("2d");
          const found = [];
          for (let row = 0; row < side; row++) for (let column = 0; column < side; column++) {
            const [x, y] = [column, row].map(
              (at, i) => Math.floor((at + 0.5) * [canvas.width, canvas.height][i] / side));
            found.push(...context.getImageData(x, y, 1, 1).data);
          }
          return found;
        }""",
        [pane, SIDE],
    )
    return np.array(flat, np.uint8).reshape(SIDE, SIDE, 4)


def coloured(ids: np.ndarray) -> np.ndarray:
    return np.array([[(*COLOURS[i], 255) if i in COLOURS else (0, 0, 0, 0) for i in row] for row in ids.tolist()])


def test_the_page_asks_for_nothing_and_shows_no_error(opened, made):
    assert opened.asked == [made[0].as_uri()]
    assert opened.page.title().startswith("Land-cover runs compared")  # the script in the id of a record has not run
    assert opened.page.locator(".explorer option", has_text="document.title").count() == 1
    assert made[0].stat().st_size < 8e6


def test_pictures_are_those_of_the_files(opened, made):
    samples = made[1]
    names = opened.page.locator(".explorer figcaption").all_inner_texts()
    assert names == ["image", "truth", "alpha: prediction", "alpha: errors", "alpha: confidence"]
    assert abs(pixels(opened, 0)[..., :3].astype(int) - samples["image"][0]).max() <= 2  # in steps of 4
    np.testing.assert_array_equal(pixels(opened, 1), coloured(samples["truth"][0]))
    np.testing.assert_array_equal(pixels(opened, 2), coloured(samples["prediction"][0]))
    wrong = (pixels(opened, 3)[..., :3] == (0xC1, 0x12, 0x1F)).all(-1)
    scored = np.isin(samples["truth"][0], list(NAMES))
    np.testing.assert_array_equal(wrong, scored & (samples["truth"][0] != samples["prediction"][0]))
    darkest = np.unravel_index(samples["confidence"][0].argmin(), (SIDE, SIDE))
    assert pixels(opened, 4)[darkest][2] > pixels(opened, 4)[darkest][1]  # blue is where it is least sure
    opened.page.locator(".explorer label:has-text('tile') select").select_option(index=1)
    opened.settle()
    np.testing.assert_array_equal(pixels(opened, 1), coloured(samples["truth"][1]))


def test_switching_a_class_off_takes_its_pixels_alone(opened, made):
    truth = made[1]["truth"][0]
    before = pixels(opened, 1)
    opened.page.get_by_label("Forest", exact=True).uncheck()
    opened.settle()
    off = pixels(opened, 1)[..., 3] == 0
    forest = next(i for i, name in NAMES.items() if name == "Forest")
    np.testing.assert_array_equal(off, (truth == forest) | ~np.isin(truth, list(COLOURS)))
    assert (pixels(opened, 1)[~off] == before[~off]).all()
    opened.page.get_by_role("button", name="None").click()
    opened.settle()
    assert not pixels(opened, 1)[..., 3].any()


def test_the_swipe_shows_one_layer_on_each_side(opened, made):
    samples = made[1]
    opened.page.get_by_role("button", name="Swipe").click()
    opened.page.locator(".explorer label:has-text('left') select").select_option("truth")
    opened.page.locator(".explorer label:has-text('right') select").select_option(
        "0 prediction" if first(opened) else "1 prediction"
    )
    opened.settle()
    truth, predicted = coloured(samples["truth"][0]), coloured(samples["prediction"][0])
    np.testing.assert_array_equal(pixels(opened, 0)[:, :8], truth[:, :8])
    np.testing.assert_array_equal(pixels(opened, 0)[:, 8:], predicted[:, 8:])
    before = opened.seen(".explorer .sight")
    divider = opened.page.get_by_role("slider", name="Swipe")
    divider.press("End")
    opened.settle()
    np.testing.assert_array_equal(pixels(opened, 0), truth)
    assert divider.get_attribute("aria-valuenow") == "100"
    box = opened.page.locator(".explorer .sight").bounding_box()
    x, y = box["x"] + box["width"], box["y"] + box["height"] / 2
    opened.page.mouse.move(x - 3, y)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] / 4, y, steps=4)
    opened.page.mouse.up()
    opened.settle()
    np.testing.assert_array_equal(pixels(opened, 0)[:, :4], truth[:, :4])
    np.testing.assert_array_equal(pixels(opened, 0)[:, 4:], predicted[:, 4:])
    assert (opened.seen(".explorer .sight") != before).any()


def first(tab) -> bool:
    """Whether alpha is the first run of the table."""
    return tab.page.locator(".explorer label:has-text('run') option").first.inner_text() == "alpha"


def test_all_panes_move_together_by_keys_and_by_hand(opened, made):
    truth, image = coloured(made[1]["truth"][0]), made[1]["image"][0]
    stage = opened.page.locator(".explorer .stage")
    stage.press("+")
    stage.press("+")
    opened.settle()
    # 2.25 times as large: the middle stays, and is told.
    assert "column 8, row 8" in opened.page.locator(".explorer .readout").inner_text()
    middle = opened.page.evaluate(
        """() => [0, 1].map((pane) => {
          const canvas = document.querySelectorAll(".explorer canvas")[pane];
          const at = Math.floor(canvas.width * 0.52);
          return [...canvas.getContext("2d").getImageData(at, Math.floor(canvas.height * 0.56), 1, 1).data];
        })"""
    )
    assert abs(np.array(middle[0][:3]) - image[8, 8]).max() <= 2 and middle[1] == truth[8, 8].tolist()
    before = [pixels(opened, pane) for pane in (0, 1)]
    box = opened.page.locator(".explorer .sight").nth(1).bounding_box()
    opened.page.mouse.move(box["x"] + 100, box["y"] + 100)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 40, box["y"] + 100, steps=3)
    opened.page.mouse.up()
    opened.settle()
    assert all((pixels(opened, pane) != before[pane]).any() for pane in (0, 1))
    stage.press("0")
    opened.page.mouse.move(1, 1)
    opened.settle()
    assert (pixels(opened, 1) == truth).all(-1).mean() > 0.9  # all but what the cross over the middle hides


def test_the_cursor_tells_what_the_files_hold(opened, made):
    samples = made[1]
    opened.page.locator(".explorer .stage").scroll_into_view_if_needed()
    box = opened.page.locator(".explorer .sight").nth(1).bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 3.5 / SIDE, box["y"] + box["height"] * 5.5 / SIDE)
    told = opened.page.locator(".explorer .readout").inner_text()
    name = {c.id: c.name for c in DFC2020.classes} | {255: "not labelled"}
    assert "column 3, row 5" in told and f"truth {name[samples['truth'][0, 5, 3]]}" in told
    assert f"alpha {name[samples['prediction'][0, 5, 3]]}" in told
    sure = int(told.partition("confidence ")[2].partition(" %")[0])
    assert abs(sure - samples["confidence"][0, 5, 3] / 2.5) <= 1  # in steps of 2 %
    shades = told.partition("image ")[2].split()[:3]
    assert abs(np.array(shades, int) - samples["image"][0, 5, 3]).max() <= 2


def test_tables_are_sorted_and_filtered(opened, made):
    scores = opened.page.locator("table.scores").first
    column = scores.locator("thead th").all_inner_texts().index("mIoU_8")

    def values() -> list[str]:
        return scores.locator(f"tbody tr td:nth-child({column + 1})").all_inner_texts()

    assert len(values()) == 3
    scores.get_by_role("button", name="mIoU_8").click()
    falling = [float(text[:5]) for text in values()]
    scores.get_by_role("button", name="mIoU_8").click()
    assert [float(text[:5]) for text in values()] == falling[::-1] == sorted(falling)
    assert scores.locator("th[aria-sort=ascending]").inner_text().startswith("mIoU_8")
    opened.page.get_by_role("searchbox").first.fill("unet BET")
    assert scores.locator("tbody tr:visible th").all_inner_texts() == ["<i>beta & <b>"]
    assert opened.page.locator(".filter output").first.inner_text() == "1 of 3 rows"


def test_confusion_matrices_tell_pixels(opened, made):
    run = opened.page.locator(".run:has(caption:text-is('alpha: unet, early; checkpoint best, step 40'))")
    counts = json.loads((made[2] / "runs/alpha/evaluation/test/metrics.json").read_text())["confusion"]
    names = list(NAMES.values())
    cell = run.locator("table.confusion tbody tr").nth(1).locator("td").nth(2)
    cell.hover()
    expected = f"true {names[1]}, predicted {names[2]}: {counts[1][2]:,} of {sum(counts[1]):,} pixels"
    assert run.locator(".told").inner_text() == expected
    run.locator("table.confusion td").nth(1).press("ArrowDown")  # by keys, from the first cell
    assert f"true {names[1]}, predicted {names[0]}" in run.locator(".told").inner_text()


def test_curves_tell_values_and_runs_can_be_switched_off(opened):
    chart = opened.page.locator(".chart", has=opened.page.locator("text=alpha")).first
    assert chart.locator("canvas").count() >= 3  # loss, score and learning rate
    assert not chart.locator(".still").is_visible()
    chart.scroll_into_view_if_needed()
    opened.settle()
    box = chart.locator(".live > div").first.bounding_box()
    told = ""
    for share in np.linspace(0.15, 0.95, 30).tolist():
        for high in (0.3, 0.5, 0.7):
            opened.page.mouse.move(box["x"] + share * box["width"], box["y"] + high * box["height"])
            opened.page.wait_for_timeout(15)
            tips = opened.page.locator(".bk-tooltip-content:visible")
            told = told or (" ".join(tips.first.inner_text().split()) if tips.count() else "")
    step = int(told.partition("step: ")[2].split()[0])
    run, _, loss = told.removeprefix("run: ").partition(f" step: {step} loss: ")
    assert run in ("alpha", "<i>beta & <b>") and float(loss) == pytest.approx(3 / step, rel=1e-5)
    opened.page.mouse.move(1, 1)
    before = opened.seen(".chart .live")
    chart.get_by_label("alpha").uncheck()
    opened.settle()
    assert (opened.seen(".chart .live") != before).any()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(tab, made, scheme):
    tab.page.emulate_media(color_scheme=scheme)
    tab.page.goto(made[0].as_uri())
    tab.page.wait_for_selector(".chart canvas")
    tab.settle()
    assert tab.violations() == []
    ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 29)"}[scheme]


def test_a_phone_is_wide_enough(tab, made):
    tab.page.set_viewport_size({"width": 400, "height": 800})
    tab.page.goto(made[0].as_uri())
    tab.page.wait_for_selector(".chart canvas")
    tab.settle()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_paper_shows_pictures_in_place_of_what_moves(opened):
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.page.locator(".chart .still").first.is_visible()
    assert not opened.page.locator(".chart .live").first.is_visible()
    assert not opened.page.locator(".tools").first.is_visible()
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(opened.page.pdf()) > 50_000


def test_without_scripts_the_page_is_whole(browser, made):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(made[0].as_uri())
    assert page.locator(".chart .still img").first.is_visible()
    assert page.locator("table.confusion").count() == 3
    context.close()
