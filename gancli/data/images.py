"""Decode image files to pixels of one size. Unusable files raise; the scan reports them and continues.

Formats: PNG, JPEG, WebP, AVIF, BMP, TIFF (first page), GIF (first frame), and HEIC with the extra `heif`, detected by
content, not by file name.
"""

import ctypes
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Fit = Literal["crop", "pad", "stretch"]
Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # bytes 8 to 12 of such a file
MAX_PIXELS = 64_000_000  # 8,000 x 8,000; checked before decoding
MAX_SIDE = 1_000_000  # px; resizing takes memory for each pixel of a side, too
LEAST_OVER_TARGET = 4  # a JPEG is never decoded at less than this multiple of the target size
PART_PIXELS = 1 << 20  # images are converted in parts of at most this size
BYTES_PER_PIXEL = {"WEBP": 22, "AVIF": 18, "HEIF": 18}  # memory for decoding and resizing, measured
OTHER_BYTES_PER_PIXEL = 13  # the image, a rotated or converted copy, and one with premultiplied alpha
BACKGROUND = (255, 255, 255)  # color under transparent pixels
GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by number of channels
SIDEWAYS = (5, 6, 7, 8)  # values of the EXIF orientation that exchange height and width
ORIENTATION = 0x0112

logging.getLogger("PIL").addHandler(logging.NullHandler())  # without a handler, Python prints what Pillow logs


@dataclass(frozen=True)
class Shape:
    """Size, channels and fit to which each image is converted."""

    height: int
    width: int
    channels: int | None  # None: 1 if all images are gray, else 3
    fit: Fit

    @classmethod
    def within(cls, size: tuple[int, int], most: int) -> "Shape":
        """Of images of this (height, width), which are made smaller if a side is longer than `most` px."""
        shrink = max(1.0, max(size) / most)
        return cls(max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink)), None, "crop")


@dataclass(frozen=True)
class Decoded:
    """One decoded image at the target size."""

    pixels: Pixels  # (H, W, C)
    source_size: tuple[int, int]  # (height, width) in the file, after EXIF rotation
    gray: bool  # whether the mode of the file has no color


def decode(data: bytes, shape: Shape) -> Decoded:
    """Decode the bytes of one file. Raises ValueError or any error of Pillow; may emit warnings about metadata."""
    return decoded(opened(data), shape)


def opened(data: bytes) -> Image.Image:
    """Read the header of one file, without decoding its pixels. Raises as `decode`."""
    if not data:
        raise ValueError("the file is empty")
    heif = data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS
    try:
        image = _heif(data) if heif else Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:  # if the limit of Pillow is lower
        raise ValueError(f"too many pixels (at most {MAX_PIXELS:,})") from error
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels are too many (at most {MAX_PIXELS:,})")
    return image


def working_bytes(image: Image.Image) -> int:
    """Memory for decoding and converting an opened image, at most, in bytes."""
    per_pixel = BYTES_PER_PIXEL.get(image.format or "", OTHER_BYTES_PER_PIXEL)
    return image.width * image.height * per_pixel + 64 * sum(image.size)  # 64: weights of the resizing filter


def decoded(image: Image.Image, shape: Shape) -> Decoded:
    """Decode an opened image. Raises as `decode`.

    A JPEG of at least 8 times the target is decoded at a half, a quarter or an eighth, as libjpeg can: never at less
    than 4 times the target, where a pixel differs from that of the whole image by .3 of 255 on average.
    """
    header_size, side = _upright_size(image), LEAST_OVER_TARGET * max(shape.height, shape.width)
    in_part = image.draft(None, (side, side)) is not None  # None: not a JPEG
    gray = _is_gray(image)
    image = _upright(image)
    size = header_size if in_part else (image.height, image.width)
    channels = shape.channels or 3
    fitted = _fitted(_in_mode(image, channels), shape)
    return Decoded(_pixels(fitted, channels), size, gray)


def as_it_is(data: bytes, channels: int) -> Pixels:
    """Decode one file at its original size. (H, W, channels). Raises as `decode`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _upright(opened(data))
    return _pixels(_in_mode(image, channels), channels)


def size_of(data: bytes) -> tuple[int, int]:
    """(height, width) of one file after EXIF rotation, from its header. Raises as `decode`.

    The orientation of a PNG that stores it after its pixels is not seen.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _upright_size(opened(data))


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if image.format == "TIFF":  # its size in Pillow is that after rotation
        return image.height, image.width
    turned = Image.Image.getexif(image).get(ORIENTATION) in SIDEWAYS  # that of a PngImageFile decodes the pixels
    return (image.width, image.height) if turned else (image.height, image.width)


def from_array(pixels: Pixels, shape: Shape) -> Pixels:
    """Convert one image of an array to the target size. (h, w, c) -> (H, W, C)."""
    channels = shape.channels or (1 if pixels.shape[2] == 1 else 3)
    if pixels.shape == (shape.height, shape.width, channels):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _pixels(_fitted(_in_mode(image, channels), shape), channels)


def _heif(data: bytes) -> Image.Image:
    """A HEIC picture, as phones write them. Raises ValueError where the extra is not installed."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ValueError("HEIC needs an extra: pip install 'gancli[heif]'") from error
    image: Image.Image = HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Decode the pixels and apply the EXIF orientation."""
    if image.format == "TIFF":
        silence_libtiff()
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return image


@cache
def silence_libtiff() -> None:
    """Stop libtiff from writing to standard error; Pillow raises its errors as exceptions, too.

    Pillow does so for the warnings of libtiff, and offers nothing for its errors. The symbol is searched in the
    libraries that Pillow has loaded; it is missing if libtiff is linked statically, and then nothing is changed.
    Redirecting file descriptor 2 instead would also swallow what other threads write.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(import_module("PIL._imaging").__file__).TIFFSetErrorHandler(None)


def _is_gray(image: Image.Image) -> bool:
    """Of an opened image, before its pixels are decoded: Pillow opens 16-bit gray with alpha as RGBA."""
    tiles = getattr(image, "tile", None)
    rawmode = tiles[0][3] if tiles else ""
    return image.mode in GRAY_MODES or image.mode.startswith("I;16") or rawmode == "LA;16B"


def _in_mode(image: Image.Image, channels: int) -> Image.Image:
    """Convert to L, RGB or RGBA; transparency is composited over white unless channels is 4.

    Large images are converted in parts, so that the intermediate images are small.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bit(image)
    mode = MODES[channels]
    if image.mode == mode and (channels == 4 or not image.has_transparency_data):
        return image
    if image.width * image.height <= PART_PIXELS:
        return _converted(image, mode)
    whole = Image.new(mode, image.size)
    for box in _parts(image.size):
        whole.paste(_converted(image.crop(box), mode), box)
    return whole


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if mode == "RGBA":
        return image.convert("RGBA")
    if image.has_transparency_data:
        color = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(ground, color)
    return image.convert(mode)


def _parts(size: tuple[int, int]) -> Iterator[Box]:
    """Boxes of at most PART_PIXELS pixels that cover an image of this (width, height)."""
    width, height = size
    columns = min(width, PART_PIXELS)
    rows = PART_PIXELS // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit gray to 8 bits as value / 257, rounded; the conversion of Pillow would clip it to white.

    An image with transparency gets alpha. Half of 257 is not a whole number, so (value + 128) // 257 is exactly the
    rounded quotient.
    """
    if image.mode == "F":
        raise ValueError("floating-point images have no fixed scale; save as 8 or 16 bit")
    clear = image.info.get("transparency")  # the value of the transparent pixels
    whole = Image.new("L" if clear is None else "LA", image.size)
    for box in _parts(image.size):
        values = np.asarray(image.crop(box)).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("values outside 0..65535")
        part = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        if clear is not None:
            part.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
        whole.paste(part, box)
    return whole


def _fitted(image: Image.Image, shape: Shape) -> Image.Image:
    size = (shape.width, shape.height)
    if image.size == size:
        return image
    if shape.fit == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    if shape.fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    blanks: dict[str, int | tuple[int, ...]] = {"L": 255, "RGB": BACKGROUND, "RGBA": (*BACKGROUND, 0)}
    return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=blanks[image.mode])


def _pixels(image: Image.Image, channels: int) -> Pixels:
    pixels = np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)
    if channels == 4:  # the colors of fully transparent pixels are meaningless
        pixels = np.where(pixels[:, :, 3:] == 0, np.array([*BACKGROUND, 0], np.uint8), pixels)
    return pixels
