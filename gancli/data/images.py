"""Decode image files to pixels of one size. Unusable files raise; the scan reports them and continues.

Formats: PNG, JPEG, WebP, AVIF, BMP, TIFF (first page), GIF (first frame), and HEIC with the extra `heif`, detected by
content, not by file name.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Fit = Literal["crop", "pad", "stretch"]
Pixels = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # bytes 8 to 12 of such a file
MAX_PIXELS = 64_000_000  # 8,000 x 8,000; checked before decoding
BACKGROUND = (255, 255, 255)  # color under transparent pixels
GRAY_MODES = ("1", "L", "LA", "La", "I", "F")


@dataclass(frozen=True)
class Shape:
    """Size, channels and fit to which each image is converted."""

    height: int
    width: int
    channels: int | None  # None: 1 if all images are gray, else 3
    fit: Fit


@dataclass(frozen=True)
class Decoded:
    """One decoded image at the target size."""

    pixels: Pixels  # (H, W, C)
    source_size: tuple[int, int]  # (height, width) in the file, after EXIF rotation
    gray: bool  # whether the mode of the file has no color


def decode(data: bytes, shape: Shape) -> Decoded:
    """Decode the bytes of one file. Raises ValueError or any error of Pillow; may emit warnings about metadata."""
    image = _upright(_opened(data))
    gray = _is_gray(image)
    size = (image.height, image.width)
    channels = shape.channels or 3
    fitted = _fitted(_in_mode(image, channels), shape)
    return Decoded(_pixels(fitted, channels), size, gray)


def as_it_is(data: bytes, channels: int) -> Pixels:
    """Decode one file at its original size. (H, W, channels). Raises as `decode`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _upright(_opened(data))
    return _pixels(_in_mode(image, channels), channels)


def size_of(data: bytes) -> tuple[int, int]:
    """(height, width) of one file after EXIF rotation. Raises as `decode`."""
    return as_it_is(data, 3).shape[:2]


def from_array(pixels: Pixels, shape: Shape) -> Pixels:
    """Convert one image of an array to the target size. (h, w, c) -> (H, W, C)."""
    channels = shape.channels or (1 if pixels.shape[2] == 1 else 3)
    if pixels.shape == (shape.height, shape.width, channels):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _pixels(_fitted(_in_mode(image, channels), shape), channels)


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise ValueError("the file is empty")
    heif = data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS
    try:
        image = _heif(data) if heif else Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:  # if the limit of Pillow is lower
        raise ValueError(f"too many pixels (at most {MAX_PIXELS:,})") from error
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too many (at most {MAX_PIXELS:,})")
    image.load()
    return image


def _heif(data: bytes) -> Image.Image:
    """A HEIC picture, as phones write them. Raises ValueError where the extra is not installed."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ValueError("HEIC needs an extra: pip install 'gancli[heif]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pillow_heif.open_heif(io.BytesIO(data)).to_pillow()


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) or image


def _is_gray(image: Image.Image) -> bool:
    return image.mode in GRAY_MODES or image.mode.startswith("I;16")


def _in_mode(image: Image.Image, channels: int) -> Image.Image:
    """Convert to L, RGB or RGBA; transparency is composited over white unless channels is 4."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bit(image)
    if channels == 4:
        return image.convert("RGBA")
    if image.has_transparency_data:
        color = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(ground, color)
    return image.convert("L" if channels == 1 else "RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit gray to 8 bits as value / 257; the conversion of Pillow would clip it to white."""
    values = np.asarray(image, dtype=np.float64)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 65535):
        raise ValueError("values outside 0..65535")
    if image.mode == "F":
        raise ValueError("floating-point images have no fixed scale; save as 8 or 16 bit")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


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
