"""Images that people bring arrive as they look, or are refused in one line."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from filtersight.world import reading
from filtersight.world.reading import read_image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
IN_RGB = np.repeat(GREY[..., None], 3, axis=-1)
# How an upright image lies in a file, by what its EXIF says must be done (TIFF 6.0, tag 274).
LYING = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


def saved(image, kind="PNG", **settings):
    """The bytes of a file: of an image of Pillow or of an array that it takes."""
    buffer = io.BytesIO()
    image = (
        image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
    )
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def by_opencv(end, array):
    """The bytes of a file that OpenCV writes of an RGB, RGBA or grey array."""
    if array.ndim == 3:
        array = array[..., [2, 1, 0, 3][: array.shape[-1]]]
    return cv2.imencode(end, array)[1].tobytes()


def tiff(values, **changed):
    """A little-endian TIFF without compression of an array (h, w) or (h, w, bands); tags may be changed."""
    height, width, bands = (*values.shape, 1)[:3]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    tags = {
        256: width,
        257: height,
        258: [8 * values.dtype.itemsize] * bands,
        259: 1,
        262: 2 if bands > 2 else 1,
        273: 8,
        277: bands,
        278: height,
        279: len(data),
        339: [kind] * bands,
    }
    tags.update({int(name[1:]): value for name, value in changed.items()})
    start = 8 + len(data)
    later, place, entries = b"", start + 2 + 12 * len(tags) + 4, b""
    for tag, value in sorted(tags.items()):
        some = value if isinstance(value, list) else [value]
        letter, number = ("H", 3) if isinstance(value, list) or tag in (259, 262) else ("I", 4)
        packed = struct.pack(f"<{len(some)}{letter}", *some)
        if len(packed) > 4:
            packed, later = struct.pack("<I", place + len(later)), later + packed
        entries += struct.pack("<HHI", tag, number, len(some)) + packed.ljust(4, b"\0")
    head = struct.pack("<2sHI", b"II", 42, start)
    return head + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4 + later


# ---------------------------------------------------------------- photographs


@pytest.mark.parametrize("turn", LYING)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_photograph_is_upright_whatever_exif_says(kind, turn):
    exif = Image.Exif()
    exif[274] = turn
    settings = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(
        kind, {}
    )
    found = read_image(saved(LYING[turn](COLOUR), kind, exif=exif, **settings))
    assert found.shape == COLOUR.shape
    assert np.abs(found.astype(int) - COLOUR).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("turn", LYING)
@pytest.mark.parametrize(
    "kind, depth",
    [
        *(
            (kind, depth)
            for kind in ("PNG", "TIFF")
            for depth in "grey palette alpha 16-bit".split()
        ),
        ("TIFF", "float"),
    ],
)
def test_other_depths_are_upright_too(kind, depth, turn):
    values = {
        "grey": GREY,
        "16-bit": GREY.astype(np.uint16) * 257,
        "palette": GREY,
        "alpha": np.dstack([IN_RGB, np.full_like(GREY, 255)]),
        "float": GREY.astype(np.float32) / 255,
    }[depth]
    image = Image.fromarray(np.ascontiguousarray(LYING[turn](values)))
    if depth == "palette":
        image = image.convert("P")
    exif = Image.Exif()
    exif[274] = turn
    assert np.array_equal(read_image(saved(image, kind, exif=exif)), IN_RGB)


def test_broken_exif_leaves_the_image_as_it_lies():
    for exif in (
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x05",
    ):
        assert np.array_equal(read_image(saved(COLOUR, exif=exif)), COLOUR)


def test_all_ways_of_giving_a_file_are_one(tmp_path, monkeypatch):
    data, path = saved(COLOUR), tmp_path / "ä b.png"
    path.write_bytes(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with open(path, "rb") as file:
        file.seek(7)
        for given in (
            *(path, str(path), path.name, f"~/{path.name}", os.fsencode(path.name).decode()),
            *(data, bytearray(data), memoryview(data), io.BytesIO(data), file, Image.open(path)),
        ):
            assert np.array_equal(read_image(given), COLOUR)
    exif = Image.Exif()
    exif[274] = 6
    lying = Image.open(io.BytesIO(saved(LYING[6](COLOUR), exif=exif)))
    assert np.array_equal(read_image(lying), COLOUR)
    assert lying.size == (24, 36)  # the caller's own image stays as it is


# ---------------------------------------------------------------- bits


def test_more_bits_look_like_eight():
    sixteen = COLOUR.astype(np.uint16) * 257
    alpha = np.full((24, 36, 1), 65535, np.uint16)
    for data in (
        by_opencv(".png", sixteen),
        by_opencv(".png", np.dstack([sixteen, alpha])),
        by_opencv(".tif", np.dstack([sixteen, alpha])),
        tiff(sixteen),
        tiff((COLOUR / 255).astype(np.float32)),
        tiff(COLOUR / 255),
        *([tiff(sixteen.astype(np.uint32))] if cv2.__version__ > "4.11" else []),  # else refused
        b"P6 36 24 65535\n" + sixteen.astype(">u2").tobytes(),
        by_opencv(".pam", COLOUR),  # only OpenCV opens it
    ):
        assert np.array_equal(read_image(data), COLOUR)
    for data in (
        by_opencv(".png", sixteen[..., 0]),
        tiff(sixteen[..., 0]),
        tiff(65535 - sixteen[..., 0], _262=0),  # where 0 is white
        tiff(sixteen[..., 0].astype(np.int32)),
        tiff((GREY / 255).astype(np.float32)),
        tiff(1 - (GREY / 255).astype(np.float32), _262=0),
        tiff(GREY.astype(np.float32)),
        tiff(GREY / 255),
        b"P5 36 24 65535\n" + sixteen[..., 0].astype(">u2").tobytes(),
    ):
        assert np.array_equal(read_image(data), IN_RGB)


def test_white_stays_white_in_deep_jpeg_2000():
    deep = np.kron(COLOUR[:4, :4], np.ones((9, 9, 1), np.uint16)) * 257
    deep[:9] = 65535
    found = read_image(by_opencv(".jp2", deep))
    assert np.abs(found.astype(int) - deep // 257).max() <= 1 and (found[:9] == 255).all()


def test_twelve_bits_are_taken_where_the_file_says_so():
    twelve = GREY.astype(np.uint16) * 16 + 8
    pairs = twelve.reshape(-1, 2)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=-1
    ).astype(np.uint8)
    data = tiff(packed.reshape(24, 54), _256=36, _258=[12])
    assert np.abs(read_image(data).astype(int) - IN_RGB).max() <= 1
    scaled = b"P5 36 24 4095\n" + twelve.astype(">u2").tobytes()
    assert np.abs(read_image(scaled).astype(int) - IN_RGB).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        GREY.astype(np.uint16) * 16,  # 12 bits in 16
        COLOUR.astype(np.uint16) * 16,
        GREY.astype(np.int32) * 16,
        (GREY / 255).astype(np.float32) * 9,  # light without a limit
        (GREY / 127.5 - 1).astype(np.float32),
        GREY.astype(np.int16) * 100 - 5000,
    ],
    ids=["grey", "colour", "wide", "light", "signed", "int16"],
)
def test_where_white_is_not_known_the_way_out_is_told_and_works(values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends = {"float32": "tif", "int32": "tif", "int16": "tif"}
    name = f"x.{ends.get(values.dtype.name, 'png')}"
    data = tiff(values) if name == "x.tif" else by_opencv(".png", values)
    (tmp_path / name).write_bytes(data)
    for given in (values, name):
        with pytest.raises(ValueError, match=r"give np.clip\(.*12 bits") as caught:
            read_image(given)
        assert "\n" not in str(caught.value)
        code = str(caught.value).partition("give ")[2].partition(", where")[0]
        names = {
            "np": np,
            "cv2": cv2,
            "image": values,
            "BLACK": values.min(),
            "WHITE": values.max(),
        }
        shown = read_image(eval(code, names)).astype(int)
        span = float(values.max()) - float(values.min())
        right = np.round((values - float(values.min())) * (255 / span))
        assert np.abs(shown - (right if right.ndim == 3 else right[..., None])).max() <= 1


@pytest.mark.parametrize(
    "given, right",
    [
        (COLOUR, COLOUR),
        (COLOUR.tolist(), COLOUR),
        (COLOUR / 255, COLOUR),
        ((COLOUR / 255).astype(np.float32), COLOUR),
        (COLOUR.astype(np.float32), COLOUR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR.astype(np.uint16) * 257, COLOUR),
        (GREY, IN_RGB),
        (GREY[..., None] / 255, IN_RGB),
        (GREY > 127, (IN_RGB > 127) * np.uint8(255)),
        (np.zeros((3, 5), np.uint16), np.zeros((3, 5, 3), np.uint8)),
        (np.zeros((3, 5)), np.zeros((3, 5, 3), np.uint8)),
        (np.ones((1, 1)), np.full((1, 1, 3), 255, np.uint8)),
        (np.asfortranarray(COLOUR)[::-1], COLOUR[::-1]),
    ],
)
def test_arrays_of_all_usual_ranges(given, right):
    found = read_image(given)
    assert found.dtype == np.uint8 and np.array_equal(found, right)


@pytest.mark.parametrize(
    "given, said",
    [
        (np.moveaxis(COLOUR, -1, 0), r"image.transpose\(1, 2, 0\) puts"),
        (COLOUR[None], r"image\[0\] is one image"),
        (COLOUR[:0], r"not uint8 \(0, 36, 3\)"),
        (COLOUR[..., :2], r"not uint8 \(24, 36, 2\)"),
        (np.float64(3), "not float64"),
        ({"a": 1}, "not object"),
        (["a.png"], "not <U5"),
        (COLOUR + 1j, "not complex128"),
        (np.where(GREY > 200, np.nan, GREY / 255), "np.nan_to_num"),
        (GREY / 0.01, "which does not tell"),
        (GREY.astype(np.uint16), "go from 0 to 255, .* which does not tell"),
        ((GREY > 9).astype(int), "go from 0 to 1, "),
        ((GREY // 2).astype(np.int8), "int8"),
    ],
)
def test_other_arrays_are_refused(given, said):
    with pytest.raises(ValueError, match=said) as caught:
        read_image(given)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- channels and colours


def test_what_is_transparent_lies_on_white_or_keeps_its_alpha():
    alpha = RNG.integers(0, 256, (24, 36, 1), dtype=np.uint8)
    rgba = np.concatenate([COLOUR, alpha], axis=-1)
    share = alpha / 255
    on_white = np.round(COLOUR * share + 255 * (1 - share))
    for given in (rgba, rgba / 255, saved(rgba), saved(rgba, "WEBP", lossless=True, exact=True)):
        assert np.array_equal(read_image(given), on_white)
        assert np.array_equal(read_image(given, 1), on_white)
        assert np.array_equal(read_image(given, 4), rgba)
    for given in (COLOUR, saved(COLOUR)):
        assert np.array_equal(read_image(given, 4), np.dstack([COLOUR, np.full_like(GREY, 255)]))
    two = np.dstack([GREY, alpha])
    assert np.array_equal(read_image(saved(two), 2), two)
    assert np.array_equal(read_image(saved(two), 4), np.dstack([IN_RGB, alpha]))
    assert np.array_equal(read_image(saved(two)), np.round(IN_RGB * share + 255 * (1 - share)))
    hidden = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    hidden.putpalette([10, 20, 30, 200, 100, 50])
    for kind in ("PNG", "GIF"):
        found = read_image(saved(hidden, kind, transparency=0))
        assert found.tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_as_many_channels_as_the_network_has_stay_as_they_are():
    for channels in (1, 2, 5, 7):
        image = RNG.integers(0, 256, (6, 5, channels), dtype=np.uint8)
        assert np.array_equal(read_image(image, channels), image)
        assert np.array_equal(read_image(image / 255, channels), image)
    assert np.array_equal(read_image(saved(GREY), 1), GREY[..., None])


def test_colours_look_as_their_profile_says():
    flat = np.full((8, 8, 3), (200, 120, 60), np.uint8)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    in_lab = ImageCms.profileToProfile(Image.fromarray(flat), srgb, lab, outputMode="LAB")
    for data in (
        saved(in_lab, "TIFF"),
        saved(flat, icc_profile=ImageCms.ImageCmsProfile(srgb).tobytes()),
        saved(flat, icc_profile=b"nonsense"),
        saved(Image.fromarray(flat).convert("CMYK"), "TIFF"),
        saved(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=100),
    ):
        assert np.abs(read_image(data).astype(int) - flat).max() <= 3
    # A profile in which the first channel is blue and the last one red.
    turned = ImageCms.ImageCmsProfile(srgb).tobytes().replace(b"rXYZ", b"#XYZ")
    turned = turned.replace(b"bXYZ", b"rXYZ").replace(b"#XYZ", b"bXYZ")
    for kind in ("PNG", "TIFF"):
        found = read_image(saved(flat, kind, icc_profile=turned))
        assert np.abs(found.astype(int) - flat[..., ::-1]).max() <= 3
    one = Image.fromarray(GREY > 127)
    assert np.array_equal(read_image(saved(one)), (IN_RGB > 127) * np.uint8(255))


def test_colours_in_lab_are_those_of_its_definition():
    """CIE 1976, white D50, then sRGB (IEC 61966-2-1, adapted by Bradford)."""
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    colours = Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    in_lab = ImageCms.profileToProfile(colours, srgb, lab, outputMode="LAB")
    light = np.asarray(in_lab)[..., 0] / 255 * 100
    a, b = np.moveaxis(np.asarray(in_lab)[..., 1:].astype(np.int8).astype(float), -1, 0)
    t = np.stack(
        [(light + 16) / 116 + a / 500, (light + 16) / 116, (light + 16) / 116 - b / 200], -1
    )
    xyz = np.where(t > 6 / 29, t**3, (t - 4 / 29) * 3 * (6 / 29) ** 2) * [0.9642, 1, 0.8252]
    to_rgb = [
        [3.13386, -1.61687, -0.49061],
        [-0.97877, 1.91614, 0.03345],
        [0.07195, -0.22899, 1.40524],
    ]
    linear = np.clip(xyz @ np.transpose(to_rgb), 0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(read_image(saved(in_lab, "TIFF")) - rgb).max() <= 1.6


def test_of_several_pages_the_first_is_taken():
    pages = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    for kind in ("PNG", "TIFF", "WEBP"):
        settings = {"lossless": True} if kind == "WEBP" else {}
        data = saved(pages[0], kind, save_all=True, append_images=pages[1:], **settings)
        assert np.array_equal(read_image(data), COLOUR)


# ---------------------------------------------------------------- what is no image


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "ICO", "PPM"]
)
def test_a_file_that_is_cut_off_is_refused(kind):
    data = saved(np.tile(COLOUR, (4, 4, 1)), kind)
    for share in (0.01, 0.1, 0.5, 0.9):
        with pytest.raises(
            ValueError, match=r"is no image that can be opened: .*(damaged|cut off)"
        ):
            read_image(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "it is empty"),
        (b"Dear diary", "do not know its format"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG.*as PNG"),
        (b"<!DOCTYPE html><HTML><body>404", "web page"),
        (b"%PDF-1.7\n", "PDF.*as PNG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC.*pillow-heif"),
        (b"\x93NUMPY\x01\0", "np.load"),
        (b"PK\x03\x04 a model", "do not know its format"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (by_opencv(".hdr", COLOUR.astype(np.float32)), "HDR.*createTonemap"),
        (tiff(np.dstack([COLOUR, COLOUR, GREY])), "tifffile"),  # seven bands
        (tiff(np.dstack([COLOUR, GREY]), _262=1), "tifffile"),  # OpenCV would take one of four
        (tiff(np.moveaxis(COLOUR, -1, 0).reshape(24, 36, 3).astype(np.uint16), _284=2), "tifffile"),
        (tiff((COLOUR / 255).astype(np.float32), _256=60000, _257=60000), "TIFF"),
        (tiff((COLOUR / 255).astype(np.float32), _257=48, _278=48, _279=20736), "TIFF"),  # cut off
    ],
)
def test_what_is_no_image_says_what_it_is_and_the_way_out(data, said, tmp_path, capfd):
    (tmp_path / "x.jpg").write_bytes(data)
    for given in (tmp_path / "x.jpg", data):
        with pytest.raises(
            ValueError, match=rf"is no image that can be opened: .*{said}"
        ) as caught:
            read_image(given)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_paths_that_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.jpg").write_bytes(saved(COLOUR))
    for given, said in (
        ("pictures/holidy.jpg", r"no 'holidy.jpg' in '.*pictures'; did you mean 'holiday.jpg'\?"),
        ("picture/holiday.jpg", r"no 'picture' in '.*'; did you mean 'pictures'\?"),
        ("zzz", r"no 'zzz' in '.*'\."),
        ("pictures", "it is a folder"),
        ("", "it is a folder"),
        (
            "https://example.org/a.jpg",
            r"keras.utils.get_file\(origin='https://example.org/a.jpg'\)",
        ),
        ("a\0b", "no 'a"),
        ("x" * 5000, "no 'xxx"),
    ):
        with pytest.raises(
            ValueError, match=rf"is no image that can be opened: .*{said}"
        ) as caught:
            read_image(given)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1200
    with (
        open("pictures/holiday.jpg", encoding="utf-8") as text,
        pytest.raises(ValueError, match="'rb'"),
    ):
        read_image(text)
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
        with pytest.raises(ValueError, match="no ordinary file"):
            read_image("pipe")


def test_too_many_pixels_are_refused_before_they_fill_the_memory(monkeypatch):
    row = zlib.compress(b"")
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), (b"IDAT", row)]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    with pytest.raises(ValueError, match=r"too many pixels.*MAX_IMAGE_PIXELS = None"):
        read_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="too many pixels"):
        read_image(saved(COLOUR))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert np.array_equal(read_image(saved(COLOUR)), COLOUR)


def test_files_are_told_from_arrays():
    assert all(map(reading.is_file, ("a", b"a", io.BytesIO(), Image.new("L", (1, 1)))))
    assert not any(map(reading.is_file, (COLOUR, COLOUR.tolist(), 3)))
