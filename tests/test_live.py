"""The live explorer of the site in headless Chromium, held against Keras and the engine.

Skipped where there is no Chromium. Screenshots, and how long things took, are left in tests/browser/.
"""

import base64
import functools
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from served import LEFT, served

import helpers
from filtersight.ascent.objective import FilterObjective
from filtersight.ascent.recipe import recipe_for, start_image
from filtersight.basics.recipe import Settings
from filtersight.networks.layers import Layer
from filtersight.world import pocketvgg

COURSE = Path(__file__).resolve().parents[1]
LIVE = COURSE / "site/live"
found = importlib.util.spec_from_file_location("weights", COURSE / "site/weights.py")
weights = importlib.util.module_from_spec(found)
found.loader.exec_module(weights)

FIVE = ["block1_conv1", "block2_conv2", "block3_conv2", "block4_conv3", "block5_conv3"]
# Functions for the page: a network with its weights up to a layer, and arrays as text.
HELP = """
window.networkOf = async (name, layer) => {
    const { Network, bytesOf } = await import("/live/engine/network.js");
    const weights = new URL("/live/weights/", location);
    const { widths } = (await (await fetch(new URL("networks.json", weights))).json())[name];
    const code = await bytesOf(new URL("/live/engine/net.wasm", location));
    const { instance } = await WebAssembly.instantiate(code);
    const network = new Network(instance.exports, new URL(`${name}/`, weights), widths);
    await network.need(layer);
    return network;
};
window.text = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
};
window.bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of a folder `live` with its weights, and a browser."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(LIVE, folder / "live")
    weights.write(folder / "live")
    (folder / "host.html").write_text(
        "<link rel='icon' href='data:,'><script>onmessage = ({ data }) => { window.told = data.liveHeight; };</script>"
        "<iframe src='live/index.html?view=birth&layer=block1_conv1' width=700 height=300></iframe>"
    )
    (folder / "still.png").write_bytes((COURSE / "media/explorer.png").read_bytes())
    with served(folder) as found:
        yield found


@pytest.fixture
def opened(site):
    """Opens a page of the site; in the end there was no error and no request to outside."""
    browser, address = site
    pages, wrong = [], []

    def open_page(path, width=900, script=HELP, **options):
        page = browser.new_page(viewport={"width": width, "height": 1000}, **options)
        page.add_init_script(script)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((address, "data:", "blob:"))
                else wrong.append(asked.url)
            ),
        )
        page.goto(f"{address}/{path}")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []


def view(name, **query):
    return f"live/index.html?view={name}&" + "&".join(f"{key}={query[key]}" for key in query)


@pytest.fixture(scope="module")
def model():
    return pocketvgg.load()


@pytest.fixture(scope="module")
def objectives(model):
    """By layer, what the engine climbs."""
    return functools.cache(lambda layer: FilterObjective(Layer(model, layer), "float32", False))


def coded(image):
    return base64.b64encode(np.ascontiguousarray(image, np.uint8).tobytes()).decode()


def floats(text):
    return np.frombuffer(base64.b64decode(text), np.float32)


def shown(page, selector="canvas.picture"):
    """The picture (size, size, 3) uint8 of a canvas."""
    size, text = page.locator(selector).first.evaluate(
        """canvas => {
            const context = canvas.getContext("2d"), { width } = canvas;
            return [width, text(context.getImageData(0, 0, width, width).data)];
        }"""
    )
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(size, size, 4)[..., :3]


def text_of(page, pattern, selector="[role=status]", seconds=60):
    """What the line of facts says, as soon as the pattern is found in it: the match."""
    page.wait_for_function(
        "([selector, pattern]) => RegExp(pattern).test(document.querySelector(selector)?.textContent)",
        arg=[selector, pattern],
        timeout=1000 * seconds,
    )
    return re.search(pattern, page.locator(selector).first.text_content())


# ------------------------------------------------------------ the engine


def test_the_wasm_is_what_its_source_gives(tmp_path):
    command = re.search(r"```bash\n(clang-19 .*)\n```", (LIVE / "README.md").read_text())[1].split()
    if not shutil.which(command[0]) or not shutil.which("wasm-ld-19"):
        pytest.skip("clang 19 is not here")
    shutil.copy(LIVE / "engine/net.c", tmp_path)
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "net.wasm").read_bytes() == (LIVE / "engine/net.wasm").read_bytes()


def test_the_weights_are_those_of_the_networks(tmp_path, model):
    weights.write(tmp_path)
    about = json.loads((tmp_path / "weights/networks.json").read_text())
    stages = pocketvgg.stages()
    assert set(about) == {"pocketvgg", "pocketvgg_plain", *(each.name for each in stages.values())}
    for network in (model, stages[800]):
        for layer in ("block1_conv1", "block4_conv2", "block5_conv3"):
            told = about[network.name]["fingerprints"][layer]
            assert told == Layer(network, layer).fingerprint()
    listed = subprocess.run(
        ["git", "ls-files", "site"], cwd=COURSE, capture_output=True, text=True
    ).stdout
    assert ".bin" not in listed  # they are stored once


def test_fields_are_those_of_the_course(opened, model):
    page = opened("host.html")
    told = page.evaluate(
        """import("/live/engine/network.js").then(({ LAYERS, receptiveField }) =>
            LAYERS.map((layer) => [layer, receptiveField(layer)]))"""
    )
    assert told == [
        [layer, helpers.receptive_field(model, layer)] for layer in helpers.conv_layers(model)
    ]


@pytest.mark.parametrize("size", [32, 77, 128])
def test_activations_and_gradients_are_those_of_keras(opened, model, objectives, size):
    page = opened("host.html")
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    for layer, filter in zip(FIVE, (3, 30, 16, 79, 100), strict=True):
        answers, gradients = page.evaluate(
            """async ([layer, filter, size, image]) => {
                const network = await networkOf("pocketvgg", layer), pixels = bytes(image);
                const gradients = [0, 0.1].map((leak) => {
                    const gradient = new Float32Array(pixels.length);
                    network.objective(pixels, size, layer, filter, gradient, leak);
                    return text(gradient);
                });
                return [network.activations(pixels, size, layer), gradients];
            }""",
            [layer, filter, size, coded(image)],
        )
        expected = helpers.activations(model, layer, image[None])[0]
        assert np.abs(answers - expected).max() <= 1e-4 * expected.max()
        pixels = tf.constant(image[None], tf.float32)
        network = helpers.submodel(model, layer)
        objective = objectives(layer)
        for text, climbed in zip(
            gradients,
            (
                lambda x, network=network, filter=filter: tf.reduce_mean(network(x)[..., filter]),
                lambda x, objective=objective, filter=filter: objective(x, tf.constant([filter])),
            ),
            strict=True,
        ):
            with tf.GradientTape() as tape:
                tape.watch(pixels)
                value = climbed(pixels)
            gradient = tape.gradient(value, pixels).numpy().ravel()
            assert np.abs(floats(text) - gradient).max() <= 1e-4 * np.abs(gradient).max()


@pytest.mark.parametrize("recipe", ["clear", "plain"])
def test_a_seed_begins_with_the_same_noise_as_in_python(opened, model, recipe):
    page, layer = opened("host.html"), Layer(model, "block1_conv1")
    for seed in (0, 4, 2**32 - 1):
        start = page.evaluate(
            """([recipe, seed]) => import("/live/engine/plain.js").then(({ RECIPES }) =>
                text(RECIPES[recipe].start({ size: 64, seed })))""",
            [recipe, seed],
        )
        start = np.frombuffer(base64.b64decode(start), np.uint8).astype(int).reshape(64, 64, 3)
        expected = start_image(recipe_for(layer, Settings(recipe=recipe, size=64, seed=seed)))
        # Where a number is all but half-way between two grey levels it may be rounded otherwise.
        assert np.abs(start - expected).max() <= 1 and np.mean(start != expected) < 0.01


CLIMB = """async ([layer, filters, recipe, size]) => {
    const network = await networkOf("pocketvgg", layer);
    const { RECIPES } = await import("/live/engine/plain.js");
    const { steps, step_size, begin } = RECIPES[recipe];
    return filters.map((filter) => {
        const climb = begin({ network, layer, filter }, { size, steps, step_size, seed: 5 });
        const history = Array.from({ length: steps }, () => climb.step());
        const picture = climb.picture();
        return [history, text(picture), network.activations(picture, size, layer)[filter]];
    });
}"""


@pytest.mark.parametrize(
    ("layer", "recipe", "filters", "alike"),
    [
        ("block1_conv2", "clear", [3, 5, 7], 50),  # which begins on a tile
        ("block3_conv2", "plain", [3, 5, 7], 4),
        ("block5_conv3", "clear", [*range(24)], 3),
    ],
)
def test_a_climb_is_that_of_the_engine(opened, model, layer, recipe, filters, alike):
    """Of the same random numbers, so only rounding differs: by less than 1 % in so many steps as are `alike`.

    In deep layers the difference grows on the way, and one climb in eight ends in another picture, better or
    worse; the median is held to 3 %, three quarters of the pictures to 12.
    """
    page = opened("host.html")
    made = page.evaluate(CLIMB, [layer, filters, recipe, 64])
    settings = {"recipe": recipe, "precision": "float32", "rescue": False, "size": 64, "seed": 5}
    pictures = helpers.visualize(model, layer, filters, **settings)
    ratios = []
    for (history, text, activation), picture in zip(made, pictures, strict=True):
        pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(64, 64, 3)
        in_keras = helpers.activations(model, layer, pixels[None])[0, picture.filter]
        assert activation == pytest.approx(in_keras, rel=1e-3, abs=1e-9)
        assert len(history) == len(picture.history)
        np.testing.assert_allclose(history[:alike], picture.history[:alike], rtol=0.01, atol=1e-7)
        if picture.activation:
            ratios.append(activation / picture.activation)
    assert len(ratios) >= 2
    assert np.median(ratios) == pytest.approx(1, abs=0.03)
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.12) >= 0.75


# ------------------------------------------------------------ the explorer


FINISHED = r"filter (\d+): (alive|dead), activation (\S+), .* (\d+) steps"


def test_a_moved_slider_drops_the_old_climb(opened, model):
    page = opened(view("explorer", layer="block4_conv2", filter=3, size=64, steps=100))
    page.locator(".facts").wait_for()
    page.evaluate(
        """() => {
            window.said = []; window.tasks = [];
            const facts = document.querySelector(".facts");
            new MutationObserver(() => said.push(facts.textContent)).observe(facts, { childList: true });
            new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))
                .observe({ type: "longtask", buffered: true });
        }"""
    )
    page.get_by_text(re.compile(r"^\d+ of 100, ")).wait_for()
    page.get_by_label("filter", exact=True).focus()
    for number in range(4, 10):
        page.keyboard.press("ArrowRight")
        text_of(page, f"filter {number}$", ".facts")
        page.wait_for_timeout(60)
    found = text_of(page, FINISHED, ".facts")
    assert found.group(1, 4) == ("9", "100")
    finished = [said for said in page.evaluate("said") if re.search(FINISHED, said)]
    assert len(finished) == 1  # of the dropped ones nothing is heard
    answer = helpers.activations(model, "block4_conv2", shown(page)[None])[0, 9]
    assert float(found[3]) == pytest.approx(answer, rel=0.05)  # two digits are written
    longest = max(page.evaluate("tasks"), default=0)
    (LEFT / "live.txt").write_text(
        f"longest task of the page while a slider moves, ms: {longest}\n"
    )


def test_save_after_stop_is_accepted_by_rerun(opened, model, tmp_path, capsys):
    page = opened(view("explorer", layer="block1_conv2", filter=3, size=256, steps=400))
    page.get_by_text(re.compile(r"^\d\d+ of 400, ")).wait_for()
    page.get_by_role("button", name="Stop").click()
    done = int(text_of(page, r"(\d+) of 400 steps", ".facts")[1])
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save PNG").click()
    path = tmp_path / saved.value.suggested_filename
    saved.value.save_as(path)
    assert f"_{done}steps_256px_seed0.png" in path.name
    assert np.array_equal(np.asarray(Image.open(path)), shown(page))
    facts = json.loads(Image.open(path).text["facts"])
    again = helpers.rerun(path, model)
    assert len(again.history) == len(facts["history"]) == done
    assert again.activation == pytest.approx(facts["activation"], rel=0.01)
    assert again.status == facts["status"] == "alive"
    assert "ame" in capsys.readouterr().out  # The same picture, or Not the same: and by how much


def test_pictures_come_back_and_the_dice_make_new_ones(opened):
    page = opened(view("explorer", layer="block1_conv2", filter=3, size=64))
    text_of(page, FINISHED, ".facts")
    first = shown(page)
    page.get_by_role("button", name="Dice").click()
    text_of(page, FINISHED, ".facts")
    seed = page.get_by_label("seed").input_value()
    assert text_of(page, f"seed {seed}, ", ".facts")
    if seed != "0":
        assert not np.array_equal(shown(page), first)
    page.get_by_label("seed").fill("0")
    page.keyboard.press("Enter")
    text_of(page, "seed 0, ", ".facts")
    assert np.array_equal(shown(page), first)


def test_a_tile_of_the_sheet_chooses_its_filter_by_keyboard_alone(opened):
    page = opened(view("explorer", layer="block1_conv1", filter=3, size=64, steps=20))
    text_of(page, FINISHED, ".facts")
    names = []
    for _ in range(40):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
                " || document.activeElement.ariaLabel"
            )
        )
        if names[-1] == "5" or names[-1].startswith("5 "):
            break
    wanted = "network layer filter iterations image_size recipe seed Dice".replace("_", " ")
    assert " ".join(names[:8]) == wanted
    assert names[8:10] == ["Start over", "Save PNG"]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.get_by_text(re.compile(r"of 16 drawn")).wait_for(state="hidden")
    page.keyboard.press("Enter")
    assert text_of(page, FINISHED, ".facts")[1] == "5" or text_of(page, "filter 5: ", ".facts")
    tile = page.get_by_role("button", name=re.compile("^filter 5, (alive|dead)$"))
    assert tile.get_attribute("aria-pressed") == "true"
    assert shown(page, ".tile[aria-pressed=true] canvas").std() > 10


def test_a_failed_fetch_is_told_and_can_be_tried_again(site):
    browser, address = site
    page = browser.new_page()
    page.route("**/block1.bin", lambda route: route.fulfill(status=503))
    page.goto(f"{address}/{view('explorer', layer='block1_conv1', size=64, steps=5)}")
    text_of(page, r"block1\.bin cannot be fetched: 503", ".facts")
    page.unroute("**/block1.bin")
    page.get_by_role("button", name="Start over").click()
    text_of(page, FINISHED, ".facts")
    page.close()


# ------------------------------------------------------------ the other views


def test_iterations_can_be_dragged(opened, model):
    page = opened(view("iterations", layer="block1_conv1", filter=3))
    text_of(page, "after 60 steps: activation")
    last, start = shown(page), shown(page, "canvas.start")
    assert not np.array_equal(last, start)
    handle = page.get_by_label("iterations")
    handle.focus()
    page.keyboard.press("Home")
    text_of(page, "after 0 steps: activation")
    assert np.array_equal(shown(page), start)
    handle.fill("7")
    found = text_of(page, r"after 7 steps: activation (\S+)")
    answer = helpers.activations(model, "block1_conv1", shown(page)[None])[0, 3]
    assert float(found[1]) == pytest.approx(answer, rel=0.05)
    page.keyboard.press("End")
    text_of(page, "after 60 steps: activation")
    assert np.array_equal(shown(page), last)
    page.get_by_label("step size").select_option("0.25")
    text_of(page, "after 60 steps: activation")
    assert not np.array_equal(shown(page), last)


def test_a_sheet_is_drawn_by_both_recipes(opened):
    page = opened(view("sheet", layer="block1_conv1", filter=2))
    text_of(page, "filter 2: ")
    sheets = []
    for recipe in ("clear", "plain"):
        page.get_by_label("recipe").select_option(recipe)
        page.get_by_text(re.compile(r"of 16 drawn")).wait_for(state="hidden")
        page.wait_for_function(
            "[...document.querySelectorAll('.tile')].every((tile) => tile.ariaLabel.includes(','))"
        )
        sheets.append(shown(page, ".tile canvas"))
    assert not np.array_equal(*sheets)
    page.get_by_role("button", name=re.compile("^filter 9,")).click()
    text_of(page, r"filter 9: .*; plain, 40 steps")


def test_changes_stand_side_by_side(opened, model):
    page = opened(view("changes", layer="block1_conv1", filter=3))
    text_of(page, "all six")
    tiles = page.locator("figure").all()
    facts = [tile.inner_text() for tile in tiles]
    assert [text.split("\n")[0].strip("+ ") for text in facts] == [
        *("pixels", "even waves", "waves", "natural colours", "transformations", "clear")
    ]
    for place, text in enumerate(facts):
        value, share = re.search(r"activation (\S+), (\S+) % high", text).group(1, 2)
        picture = shown(page, f"figure:nth-of-type({place + 1}) canvas")
        answer = helpers.activations(model, "block1_conv1", picture[None])[0, 3]
        assert float(value) == pytest.approx(answer, rel=0.05)
        grey = picture.mean(axis=-1)
        power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
        frequency = np.fft.fftfreq(len(grey))
        fine = power[np.hypot(frequency[:, None], frequency) > 1 / 4].sum() / power.sum()
        assert float(share) == pytest.approx(100 * fine, rel=0.06)


def test_births_follow_the_slider(opened):
    page = opened(view("birth", layer="block1_conv2", step=800))
    text_of(page, "after 800 steps of training, 59 % of answers right")
    page.locator(".eight canvas.small:not(.waiting)").nth(7).wait_for()
    kernel = pocketvgg.stages()[800].get_layer("block1_conv1").kernel.numpy()[..., 0]
    expected = np.uint8(127.5 + 127.5 * kernel / np.abs(kernel).max())
    assert np.abs(shown(page, "canvas.kernel").astype(int) - expected).max() <= 1
    later = shown(page, "canvas.small")
    slider = page.get_by_role("slider", name="step")
    slider.focus()
    page.keyboard.press("Home")
    text_of(page, "after 0 steps of training, 2 % of answers right")
    page.locator(".eight canvas.small:not(.waiting)").nth(7).wait_for()
    assert not np.array_equal(shown(page, "canvas.small"), later)
    assert slider.get_attribute("aria-valuetext") == "0"


def test_a_drawing_changes_the_strongest_filters(opened, model):
    page = opened(view("draw", layer="block3_conv3"))
    page.locator(".strongest[aria-busy=false] li").nth(5).wait_for()

    def strongest():
        """What the list says, held against Keras' answers to the drawing."""
        said = [row.inner_text() for row in page.locator(".strongest li").all()]
        found = [re.search(r"filter (\d+)\s+activation (\S+),", text).group(1, 2) for text in said]
        answers = helpers.activations(model, "block3_conv3", shown(page, "canvas.paper")[None])[0]
        for filter, activation in found:
            assert float(activation) == pytest.approx(answers[int(filter)], rel=0.006)
        return [int(filter) for filter, _ in found], answers

    def after(action):
        old = page.locator(".strongest li").first.element_handle()
        action()
        page.wait_for_function("(old) => !old.isConnected", arg=old)
        page.locator(".strongest[aria-busy=false]").wait_for()
        return strongest()

    spiral, _ = strongest()
    after(page.get_by_role("button", name="spiral").click)
    again, _ = strongest()
    told = page.locator(".strongest li").all_inner_texts()
    assert [number in spiral for number in again] == ["as last time" in text for text in told]
    stripes, _ = after(page.get_by_role("button", name="stripes").click)
    assert spiral != stripes
    ranked, answers = after(lambda: page.get_by_label("answering").select_option("activation"))
    assert ranked == list(np.argsort(-answers)[:6])
    before = shown(page, "canvas.paper")
    box = page.locator("canvas.paper").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    after(lambda: page.mouse.move(box["x"] + 200, box["y"] + 120, steps=5))
    page.mouse.up()
    drawn = shown(page, "canvas.paper")
    assert not np.array_equal(drawn, before)
    page.locator("canvas.paper").focus()
    page.keyboard.press("ArrowUp")
    after(lambda: page.keyboard.press(" "))
    assert not np.array_equal(shown(page, "canvas.paper"), drawn)
    # To the empty paper some filters answer; none is listed as if it liked a drawing.
    page.get_by_label("answering").select_option("usual")
    page.get_by_role("button", name="Clear").click()
    text_of(page, "No filter of block3_conv3 answers to your drawing more than to the empty paper.")
    assert page.locator(".strongest li").count() == 0
    assert helpers.activations(model, "block3_conv3", shown(page, "canvas.paper")[None]).max() > 0


# ------------------------------------------------------------ the page around it


def luminance(colour):
    channels = np.array([int(each) for each in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["explorer", "iterations", "sheet", "changes", "birth", "draw"])
def test_a_view_fits_a_phone_and_can_be_read(opened, name, theme):
    # The theme comes from the address here, and from the visitor's settings there.
    query, options = {"layer": "block1_conv1", "filter": 3}, {"color_scheme": theme}
    if name == "birth":
        query["theme"], options = theme, {}
    page = opened(view(name, **query), width=390, **options)
    page.locator("select").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colours = page.evaluate(
        """[...document.querySelectorAll("label, .left, .hint, .facts, button, select, summary, figcaption")].map(
            (each) => {
                let ground = each;
                while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
                return [each.className, getComputedStyle(each).color, getComputedStyle(ground).backgroundColor];
            })"""
    )
    assert (luminance(colours[0][2]) < 0.1) == (theme == "dark")
    for what, ink, ground in colours:
        low, high = sorted([luminance(ink), luminance(ground)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, (what, ink, ground)
    unnamed = page.evaluate(
        """[...document.querySelectorAll("input, select, button, canvas")].filter((each) =>
            !(each.labels?.length || each.ariaLabel || each.textContent.trim() || each.ariaHidden))
            .map((each) => each.outerHTML)"""
    )
    assert unnamed == []


def test_the_page_around_it_is_told_the_height(opened):
    page = opened("host.html")
    page.wait_for_function("window.told > 250")
    inner = page.frames[1].evaluate("document.querySelector('main').getBoundingClientRect().bottom")
    assert inner <= page.evaluate("told") <= inner + 20


def test_without_simd_there_is_a_still_picture_and_a_sentence(opened):
    script = "WebAssembly.validate = () => false;"
    page = opened(view("explorer", still="/still.png"), script=script)
    page.get_by_text("no WebAssembly with SIMD").wait_for()
    page.wait_for_function("document.querySelector('img').naturalWidth > 100")
    elsewhere = opened(view("explorer", still="//example.org/a.png"), script=script)
    elsewhere.get_by_text("no WebAssembly with SIMD").wait_for()
    assert elsewhere.locator("img").count() == 0
