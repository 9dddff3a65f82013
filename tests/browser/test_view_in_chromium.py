"""`lcjax view` in a real browser: its pixels are those of the files, at every size."""

import io
import threading

import numpy as np
import pytest
from looked_at import CLASSES, HEIGHT, WIDTH, make
from matplotlib import image

from lcjax.viewing import ground, server

pytestmark = [pytest.mark.slow, pytest.mark.browser]
COLOURS = {number: tuple(bytes.fromhex(colour[1:])) for number, _, colour in CLASSES}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    world = make(tmp_path_factory.mktemp("looked_at"))
    made = server.Server(ground.opened(world.map, world.scene, world.truth), 0)
    thread = threading.Thread(target=server.serve, args=(made, lambda url: None))
    thread.start()
    yield made, world
    made.shutdown()
    thread.join(10)


@pytest.fixture
def opened(tab, served):
    tab.page.goto(served[0].url)
    tab.page.wait_for_selector(".map canvas")
    tab.settle()
    return tab


def at(tab, pane: int, *places: tuple[int, int]) -> list[tuple[int, ...]]:
    """The colours of a pane in the middle of pixels (row, column) of the map."""
    found = tab.page.evaluate(
        """([pane, places]) => {
          const viewer = window.shown[0].viewer, one = viewer.panes[pane], view = viewer.view(one);
          const context = one.canvas.getContext("2d");
          const shown = (at, origin) => Math.floor((at + 0.5 - origin) * view.scale);
          return places.map(([row, column]) =>
            [...context.getImageData(shown(column, view.x), shown(row, view.y), 1, 1).data]);
        }""",
        [pane, [list(place) for place in places]],
    )
    return [tuple(one) for one in found]


def within_blocks(world, number: int) -> list[tuple[int, int]]:
    """Middles of the 20 x 20 blocks of a class in the left half of the map, where each overview has its class."""
    rows, columns = np.nonzero(world.ids[10:590:20, 10:300:20] == number)
    return [(int(row) * 20 + 10, int(column) * 20 + 10) for row, column in zip(rows, columns, strict=True)][:8]


def test_the_page_asks_its_server_alone(opened, served):
    assert len(opened.asked) > 5 and all(url.startswith(served[0].url) for url in opened.asked)
    assert opened.page.locator("h1").inner_text() == "map.tif"


def test_the_swipe_has_the_scene_on_its_left_and_the_map_on_its_right(opened, served):
    _, world = served
    divider = opened.page.get_by_role("slider", name="Swipe")
    divider.press("Home")
    opened.settle()
    for number, colour in COLOURS.items():
        places = within_blocks(world, number)
        assert at(opened, 0, *places) == [(*colour, 255)] * len(places)
    before = opened.seen(".map .sight")
    divider.press("End")
    opened.settle()
    assert (opened.seen(".map .sight") != before).any(-1).mean() > 0.5
    assert at(opened, 0, (575, 650)) == [(0, 0, 0, 0)]  # the scene has no data there


def test_classes_and_opacity_have_the_scene_shine_through(opened, served):
    _, world = served
    opened.page.get_by_role("slider", name="Swipe").press("Home")
    opened.settle()
    places = within_blocks(world, 1)
    opened.page.get_by_label("Forest").uncheck()
    opened.settle()
    assert all(colour[:3] != COLOURS[1] and colour[3] == 255 for colour in at(opened, 0, *places))
    opened.page.get_by_label("Forest").check()
    opened.page.get_by_label("opacity").fill("50")
    opened.settle()
    half = at(opened, 0, *places)
    opened.page.get_by_label("opacity").fill("0")
    opened.settle()
    for mixed, scene in zip(half, at(opened, 0, *places), strict=True):
        expected = (np.array(scene[:3]) + COLOURS[1]) / 2
        assert abs(np.array(mixed[:3]) - expected).max() <= 2


def test_enlarged_it_shows_single_pixels_of_the_file(opened, served):
    _, world = served
    opened.page.get_by_role("button", name="Side by side").click()
    opened.settle()
    names = opened.page.locator(".map figcaption").all_inner_texts()
    assert names == ["scene", "truth", "map", "confidence"]
    for _ in range(8):
        opened.page.get_by_role("button", name="Enlarge").click()
    opened.settle()
    row, column = HEIGHT // 2, WIDTH // 2
    places = [(row + a, column + b) for a in (-3, 0, 3) for b in (-3, 0, 3)]
    assert at(opened, 2, *places) == [(*COLOURS[world.ids[place]], 255) for place in places]
    shades = at(opened, 3, *places)
    levels = [int(world.confidence[place]) for place in places]
    order = np.argsort(levels)
    assert shades[order[0]][2] != shades[order[-1]][2] and len(set(shades)) >= len(set(levels)) - 1
    alone = [(row + a, column + b) for a in range(5) for b in range(5) if world.labels[row + a, column + b] == 77]
    assert all(colour == (255, 0, 255, 255) for colour in at(opened, 1, *alone))


def test_the_cursor_tells_what_the_files_hold(opened, served):
    from playwright.sync_api import expect

    _, world = served
    box = opened.page.locator(".map .sight").bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    expect(opened.page.locator(".readout")).to_contain_text("confidence")
    told = opened.page.locator(".readout").inner_text()
    column, row = (int(word) for word in told.partition(" · ")[0].replace("column", "").replace("row", "").split(","))
    names = {number: name for number, name, _ in CLASSES}
    assert f"map {names[world.ids[row, column]]}" in told
    assert f"confidence {100 * int(world.confidence[row, column]) / 250:.0f} %" in told
    assert f"B4 {world.bands[2][row, column]}, B3 {world.bands[1][row, column]}" in told
    assert "47.8" in told and "°" in told


def test_the_legend_tells_areas(opened, served):
    _, world = served
    hectares = (world.ids == 2).sum() / 100
    assert f"{hectares:,.1f} ha" in opened.page.locator(".legend label", has_text="Water").inner_text()


def test_what_is_seen_is_saved_with_its_legend(opened):
    with opened.page.expect_download() as download:
        opened.page.get_by_role("button", name="Save PNG").click()
    assert download.value.suggested_filename == "map.png"
    saved = image.imread(io.BytesIO(download.value.path().read_bytes()))
    colours = {tuple(colour) for colour in np.rint(255 * saved[..., :3]).astype(int).reshape(-1, 3).tolist()}
    assert set(COLOURS.values()) <= colours and min(saved.shape[:2]) > 300


def test_a_file_that_cannot_be_read_any_more_is_told(tab, tmp_path):
    world = make(tmp_path)
    made = server.Server(ground.opened(world.map), 0)
    thread = threading.Thread(target=server.serve, args=(made, lambda url: None))
    thread.start()
    with made.ground.layers["map"].pool.dataset():  # the one that is open is taken
        world.map.unlink()
        tab.page.goto(made.url)
        tab.page.wait_for_selector(".note:visible")
        assert "map.tif" in tab.page.locator(".note").inner_text()
    tab.page.goto("about:blank")  # it would ask again
    made.shutdown()
    thread.join(10)
    assert all("500" in line for line in tab.wrong)
    tab.wrong.clear()


def test_a_tile_that_failed_is_asked_for_again_and_the_complaint_taken_back(tab, served):
    from playwright.sync_api import expect

    made, world = served
    failing = [2]  # answers of the one tile

    def answer(route) -> None:
        failing[0] -= 1
        route.fulfill(status=500, body="busy") if failing[0] >= 0 else route.continue_()

    tab.page.route("**/tile/map/0/0/0", answer)
    tab.page.goto(made.url)
    tab.page.get_by_role("slider", name="Swipe").press("Home")
    expect(tab.page.locator(".note")).to_contain_text("map cannot be read: busy")
    expect(tab.page.locator(".note")).to_be_hidden(timeout=20_000)
    tab.settle()
    assert failing[0] == -1
    assert at(tab, 0, (250, 250)) == [(*COLOURS[world.ids[250, 250]], 255)]
    assert len(tab.wrong) == 2 and all("500" in line for line in tab.wrong)
    tab.wrong.clear()


def test_more_tiles_are_kept_than_are_seen_on_a_screen_of_any_size(opened):
    before = len(opened.asked)
    seen = opened.page.evaluate(
        """() => {
          const [shown] = window.shown;
          shown.most = 2;
          shown.tiles.map.kept.clear();
          shown.viewer.draw();
          return shown.tiles.map.seen;
        }"""
    )
    opened.page.wait_for_timeout(2000)  # were they put out, they would be asked for without end
    tiles = [url for url in opened.asked[before:] if "/tile/map/" in url]
    assert len(tiles) == len(set(tiles)) == seen > 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out_of_the_map(tab, served, scheme):
    tab.page.emulate_media(color_scheme=scheme)
    tab.page.goto(served[0].url)
    tab.page.wait_for_selector(".map canvas")
    tab.settle()
    assert tab.violations() == []


def test_a_phone_is_wide_enough_for_the_map(tab, served):
    tab.page.set_viewport_size({"width": 400, "height": 800})
    tab.page.goto(served[0].url)
    tab.page.wait_for_selector(".map canvas")
    tab.settle()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400
    box = tab.page.locator(".map .sight").bounding_box()
    assert box["width"] > 340 and box["height"] > 300
