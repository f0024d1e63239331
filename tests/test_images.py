import io
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from gancli.data import images, open_dataset, scan
from gancli.data.budget import Budget
from gancli.data.images import Shape, decode, from_array

SQUARE = Shape(8, 8, 3, "crop")


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(color, values, clear=None):
    """A 16-bit PNG by hand, which Pillow cannot write. color: 0 gray, 4 gray with alpha, 6 RGBA. values: (H, W, C)."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))]
    chunks += [] if clear is None else [chunk(b"tRNS", struct.pack(">H", clear))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def flat(mode, color, size=(8, 8)):
    return Image.new(mode, size, color)


class TestModes:
    @pytest.mark.parametrize(
        ("image", "expected"),
        [
            (flat("RGB", (10, 20, 30)), (10, 20, 30)),
            (flat("L", 77), (77, 77, 77)),
            (flat("1", 1), (255, 255, 255)),
            (flat("RGBA", (255, 0, 255, 0)), (255, 255, 255)),
            (flat("RGBA", (0, 0, 0, 128)), (127, 127, 127)),
            (flat("LA", (0, 0)), (255, 255, 255)),
            (Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)), (100, 100, 100)),
            (Image.fromarray(np.full((8, 8), 1100, np.uint16)), (4, 4, 4)),
        ],
    )
    def test_becomes_rgb_by_a_fixed_rule(self, image, expected):
        """Transparency over white, 1 bit to 0 and 255, 16 bit divided by 257: never clipped, never inverted."""
        pixels = decode(encoded(image), SQUARE).pixels

        np.testing.assert_allclose(pixels, np.broadcast_to(expected, (8, 8, 3)), atol=1)

    def test_gray_of_16_bits_with_alpha_is_gray(self):
        """Pillow opens it as RGBA; it is composited over white."""
        half = png(4, np.full((8, 8, 2), (257 * 100, 0x8080)))
        found = decode(half, SQUARE)
        assert found.gray
        assert abs(int(found.pixels[0, 0, 0]) - round(100 * 128 / 255 + 255 * 127 / 255)) <= 1
        assert not decode(png(6, np.full((8, 8, 4), 257 * 100)), SQUARE).gray

    def test_transparent_gray_of_16_bits_is_white(self):
        """A value of tRNS is transparent, and its neighbor, which has the same 8 bits, is not."""
        values = np.full((8, 8, 1), 1100)
        values[0] = 1101
        pixels = decode(png(0, values, clear=1100), SQUARE).pixels
        assert (pixels[1:] == 255).all()
        assert (pixels[0] == 4).all()

    def test_a_palette_is_looked_up(self):
        """The result is colors, not indices."""
        image = flat("P", 1)
        image.putpalette([0, 0, 0, 200, 100, 50])

        np.testing.assert_array_equal(decode(encoded(image), SQUARE).pixels[0, 0], (200, 100, 50))

    def test_a_transparent_palette_entry_is_white(self):
        """As with other transparency."""
        image = flat("P", 0)
        image.putpalette([200, 0, 200, 1, 2, 3])

        np.testing.assert_array_equal(decode(encoded(image, transparency=0), SQUARE).pixels[0, 0], (255, 255, 255))

    def test_cmyk_is_not_inverted(self):
        """Cyan ink on white paper looks cyan."""
        pixels = decode(encoded(flat("CMYK", (255, 0, 0, 0)), "JPEG"), SQUARE).pixels

        assert pixels[4, 4, 0] < 60
        assert pixels[4, 4, 1:].min() > 150

    def test_four_channels_keep_alpha_and_hide_no_color(self):
        """--channels 4: where alpha is 0 the color is the background color."""
        image = flat("RGBA", (255, 0, 255, 0))

        np.testing.assert_array_equal(decode(encoded(image), Shape(8, 8, 4, "crop")).pixels[0, 0], (255, 255, 255, 0))

    def test_resizing_with_alpha_is_premultiplied(self):
        """No magenta fringe from fully transparent neighbors."""
        pixels = np.zeros((8, 8, 4), np.uint8)
        pixels[:] = (255, 0, 255, 0)
        pixels[:, :4] = (0, 255, 0, 255)

        small = decode(encoded(Image.fromarray(pixels)), Shape(3, 3, 4, "stretch")).pixels

        seen = small[small[..., 3] > 30]
        assert seen[:, 0].max() <= 8

    def test_exif_orientation_is_applied(self):
        """A rotated photograph is upright."""
        image = Image.new("RGB", (16, 8))
        image.paste((255, 0, 0), (0, 0, 8, 8))
        exif = Image.Exif()
        exif[0x0112] = 6

        decoded = decode(encoded(image, exif=exif), Shape(16, 8, 3, "stretch"))

        assert decoded.source_size == (16, 8)
        assert decoded.pixels[2, 4, 0] > 200
        assert decoded.pixels[14, 4, 0] < 50

    @pytest.mark.parametrize(("target", "reduced"), [(16, True), (17, False)])
    def test_a_large_jpeg_is_decoded_in_part_and_looks_the_same(self, monkeypatch, target, reduced):
        """From 8 times the target on, libjpeg halves it; a pixel differs by less than one of 255 on average."""
        smooth = np.random.RandomState(0).randint(0, 256, (12, 12, 3)).astype(np.uint8)
        image = Image.fromarray(smooth).resize((130, 130), Image.Resampling.BICUBIC)
        data, sizes = encoded(image, "JPEG", quality=92), []
        whole = Image.open(io.BytesIO(data)).convert("RGB").resize((target, target), Image.Resampling.LANCZOS)
        fitted = images._fitted
        monkeypatch.setattr(images, "_fitted", lambda x, shape: (sizes.append(x.size), fitted(x, shape))[1])

        found = decode(data, Shape(target, target, 3, "crop"))

        assert sizes == [(65, 65) if reduced else (130, 130)]
        assert found.source_size == (130, 130)
        assert np.abs(found.pixels.astype(int) - np.asarray(whole)).mean() < (1 if reduced else 0.001)

    def test_a_rotated_large_jpeg_keeps_its_size(self):
        """Its size is that of the upright photograph, in full."""
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encoded(Image.new("RGB", (401, 300)), "JPEG", exif=exif)
        assert decode(data, SQUARE).source_size == (401, 300)

    @pytest.mark.parametrize(("mode", "gray"), [("L", True), ("1", True), ("LA", True), ("RGB", False), ("P", False)])
    def test_gray_is_known_by_the_mode(self, mode, gray):
        """A data set has one channel only if all images are gray."""
        assert decode(encoded(Image.new(mode, (8, 8))), SQUARE).gray == gray


class TestFit:
    def wide(self):
        image = Image.new("RGB", (24, 8))
        image.paste((255, 255, 255), (8, 0, 16, 8))  # the middle third is white
        return encoded(image)

    def test_crop_takes_the_center(self):
        """Only the middle third remains."""
        assert decode(self.wide(), Shape(8, 8, 3, "crop")).pixels.min() == 255

    def test_stretch_keeps_everything(self):
        """Black, white, black, each a third of the width."""
        pixels = decode(self.wide(), Shape(9, 9, 3, "stretch")).pixels
        assert (pixels[4, 1, 0], pixels[4, 4, 0], pixels[4, 7, 0]) == (0, 255, 0)

    def test_pad_adds_the_background(self):
        """The image is white above and below."""
        pixels = decode(self.wide(), Shape(9, 9, 3, "pad")).pixels
        assert pixels[0].min() == 255
        assert pixels[4, 0, 0] < 30

    @pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 2000)])
    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    def test_any_size_is_taken(self, size, fit):
        """One-pixel and very narrow images work."""
        pixels = decode(encoded(Image.new("RGB", size, (9, 9, 9))), Shape(8, 8, 3, fit)).pixels
        assert pixels.shape == (8, 8, 3)


class TestRefusals:
    def test_an_empty_file(self):
        """The error says that the file is empty."""
        with pytest.raises(ValueError, match="empty"):
            decode(b"", SQUARE)

    def test_a_header_that_claims_too_many_pixels(self, monkeypatch):
        """Rejected before decoding."""
        monkeypatch.setattr("gancli.data.images.MAX_PIXELS", 100)
        with pytest.raises(ValueError, match="too many"):
            decode(encoded(Image.new("1", (50, 50))), SQUARE)

    @pytest.mark.parametrize("share", [0.5, 0.9])
    @pytest.mark.parametrize("form", ["PNG", "JPEG"])
    def test_a_truncated_file(self, form, share):
        """It is rejected rather than half decoded."""
        rng = np.random.RandomState(0)
        whole = encoded(Image.fromarray(rng.randint(0, 256, (64, 64, 3)).astype(np.uint8)), form)
        with pytest.raises(Exception, match=r"."):
            decode(whole[: int(len(whole) * share)], SQUARE)

    def test_a_flipped_bit_in_a_png(self):
        """Checksums are verified."""
        data = bytearray(
            encoded(Image.fromarray(np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8)))
        )
        data[len(data) // 2] ^= 1
        with pytest.raises(Exception, match=r"."):
            decode(bytes(data), SQUARE)

    def test_a_format_that_is_not_on_the_list(self):
        """Formats such as PostScript are programs."""
        with pytest.raises(Image.UnidentifiedImageError):
            decode(encoded(Image.new("RGB", (8, 8)), "EPS"), SQUARE)


def test_the_first_frame_of_a_gif_is_taken():
    """Later frames are ignored."""
    frames = [flat("RGB", c) for c in ((255, 0, 0), (0, 255, 0))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    np.testing.assert_allclose(decode(data, SQUARE).pixels[0, 0], (255, 0, 0), atol=2)


def test_a_row_of_an_array_is_brought_to_size():
    """Gray becomes RGB if three channels are requested."""
    assert from_array(np.zeros((5, 6, 1), np.uint8), SQUARE).shape == (8, 8, 3)
    assert from_array(np.zeros((5, 6, 1), np.uint8), Shape(8, 8, None, "crop")).shape == (8, 8, 1)


class TestPhones:
    """What phones write: HEIC with its extra, AVIF as it is."""

    @pytest.mark.parametrize("form", ["AVIF", "HEIF"])
    def test_their_pictures_are_read(self, form):
        """A red picture, upright, about as red as it was."""
        pillow_heif = pytest.importorskip("pillow_heif")
        image = Image.new("RGB", (64, 48), (200, 30, 20))
        if form == "HEIF":
            buffer = io.BytesIO()
            pillow_heif.from_pillow(image).save(buffer)
            data = buffer.getvalue()
        else:
            data = encoded(image, form)

        found = decode(data, Shape(16, 16, 3, "crop"))

        assert found.source_size == (48, 64)
        assert np.abs(found.pixels.astype(int) - (200, 30, 20)).max() < 12

    def test_without_the_extra_its_name_is_said(self, monkeypatch):
        """Instead of "not an image"."""
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(ValueError, match="gancli\\[heif\\]"):
            decode(b"\0\0\0\x18ftypheic" + bytes(40), Shape(16, 16, 3, "crop"))


class TestMemory:
    """Large images are converted in parts, and only a few of them at once."""

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I"])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_parts_give_the_same_pixels(self, monkeypatch, mode, channels):
        """In every mode, also if a row is longer than a part."""
        rng = np.random.RandomState(0)
        image = Image.fromarray(rng.randint(0, 256, (23, 41, 4)).astype(np.uint8))
        if mode.startswith("I"):
            image = Image.fromarray(rng.randint(0, 65536, (23, 41)).astype(np.uint16 if mode == "I;16" else np.int32))
        else:
            image = image.convert("RGB").convert("P") if mode == "P" else image.convert(mode)
        whole = images._in_mode(image, channels)

        for part in (13, 90):
            monkeypatch.setattr(images, "PART_PIXELS", part)
            np.testing.assert_array_equal(np.asarray(images._in_mode(image, channels)), np.asarray(whole))

    def test_every_16_bit_value_is_rounded_as_before(self):
        """value / 257 to the nearest whole number, for all 65,536 values."""
        values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        expected = np.rint(values.astype(np.float64) / 257)

        for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
            np.testing.assert_array_equal(np.asarray(images._eight_bit(image)), expected)

    @pytest.mark.parametrize("value", [-1, 65536])
    def test_32_bit_values_beyond_16_bits_are_refused(self, value):
        """Their scale is unknown; none is clipped."""
        with pytest.raises(ValueError, match="outside"):
            images._eight_bit(Image.fromarray(np.array([[0, value]], np.int32)))

    def test_the_size_is_read_without_decoding(self, monkeypatch):
        """Also of a rotated image."""
        exif = Image.Exif()
        exif[0x0112] = 6
        plain = encoded(Image.new("RGB", (16, 8)))
        files = [encoded(Image.new("RGB", (16, 8)), form, exif=exif) for form in ("PNG", "JPEG", "WEBP", "TIFF")]
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it was decoded"))

        assert [images.size_of(data) for data in files] == [(16, 8)] * 4
        assert images.size_of(plain) == (8, 16)

    def test_a_side_that_is_too_long_is_refused(self):
        """The filter that resizes it would take 48 bytes per pixel of the side: 3 GB for 64 million."""
        with pytest.raises(ValueError, match="too many"):
            decode(encoded(Image.new("1", (2_000_000, 1))), Shape(8, 8, 3, "pad"))

    def test_the_budget_is_never_exceeded(self):
        """Eight threads with shares of up to half of it; a share larger than the whole runs alone."""
        budget, held, most = Budget(100), [], []

        def use(share):
            with budget.share(share):
                held.append(min(share, 100))
                most.append(sum(held))
                time.sleep(0.001)
                held.remove(min(share, 100))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(use, [10, 50, 30, 1000, 7, 50, 50, 20] * 10))

        assert max(most) <= 100
        assert max(most) > 50

    def test_large_images_are_decoded_one_at_a_time(self, tmp_path, monkeypatch):
        """As many at once as the budget has room for, whatever the number of threads."""
        for i in range(6):
            Image.new("L", (64, 64), i).save(tmp_path / f"{i}.png")
        at_once, most = [], []
        real = images.decoded

        def watched(image, shape):
            at_once.append(1)
            most.append(len(at_once))
            time.sleep(0.01)
            result = real(image, shape)
            at_once.pop()
            return result

        monkeypatch.setattr(images, "decoded", watched)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
        for share, expected in ((1, 1), (2, 2)):
            most.clear()
            monkeypatch.setattr(scan, "DECODING", share * images.working_bytes(Image.new("L", (64, 64))))
            open_dataset(str(tmp_path), SQUARE, rescan=True)
            assert max(most) == expected

    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("x"), RecursionError()])
    def test_an_image_that_does_not_fit_in_memory_is_rejected(self, pictures, monkeypatch, error):
        """By name; the others are used."""
        real = images.decoded

        def decoded(image, shape):
            if image.size == (3, 3):
                raise error
            return real(image, shape)

        Image.new("RGB", (3, 3)).save(pictures / "000.png")
        monkeypatch.setattr(images, "decoded", decoded)

        report = open_dataset(str(pictures), SQUARE, rescan=True).report
        assert (report.count, [r.name for r in report.rejected]) == (23, ["000.png"])


@pytest.mark.parametrize("damage", [(60, b"\xff" * 40), (8, b"")])
def test_libtiff_writes_nothing_to_standard_error(capfd, damage):
    """A damaged TIFF is rejected with a reason; the C library does not print lines of its own."""
    data = bytearray(
        encoded(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)), "TIFF", compression="tiff_lzw")
    )
    place, new = damage
    data[place : place + max(len(new), 30)] = new or bytes(30)
    with pytest.raises(Exception, match=r"."):
        decode(bytes(data), SQUARE)
    assert capfd.readouterr().err == ""
