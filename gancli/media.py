"""Encode images, grids and animations. Images are uint8 arrays (N, H, W, C)."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gancli import files
from gancli.errors import ExtraMissing

Pictures = NDArray[np.uint8]

ANIMATIONS = ("gif", "webp", "png", "apng", "mp4")


def to_bytes(x: Tensor) -> Pictures:
    """[-1, 1] to 0..255, rounded and clipped. (N, C, H, W) -> (N, H, W, C) uint8."""
    scaled = x.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    pictures: Pictures = scaled.byte().permute(0, 2, 3, 1).cpu().numpy()
    return pictures


def picture(pixels: Pictures) -> Image.Image:
    """A PIL image of 1, 3 or 4 channels. (H, W, C)."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def enlarged(pixels: Pictures, height: int | None) -> Pictures:
    """Repeat pixels by an integer factor so that the image is about `height` pixels high. (..., H, W, C)."""
    factor = 1 if height is None else max(1, height // pixels.shape[-3])
    return pixels.repeat(factor, axis=-3).repeat(factor, axis=-2)


def grid(pictures: Pictures, columns: int | None = None) -> Pictures:
    """Arrange images in a grid, row by row; empty cells are white. (N, H, W, C) -> (rows H, columns W, C)."""
    n, h, w, c = pictures.shape
    columns = min(n, columns or default_columns(n, h, w))
    rows = -(-n // columns)
    blank = np.full((rows * columns - n, h, w, c), 255, np.uint8)
    tiles = np.concatenate([pictures, blank]).reshape(rows, columns, h, w, c)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)


def default_columns(n: int, height: int, width: int) -> int:
    """The number of columns that makes the grid about square."""
    return max(1, round(math.sqrt(n * height / width)))


def png(pixels: Pictures) -> bytes:
    """Encode an image as PNG. (H, W, C)."""
    buffer = io.BytesIO()
    picture(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def animation(frames: Iterable[Pictures], form: str, fps: float) -> bytes:
    """Encode frames (H, W, C) in one of ANIMATIONS, looping endlessly. Raises ExtraMissing if MP4 is not installed."""
    if form == "mp4":
        return _mp4(list(frames), fps)
    first, *others = [_opaque(picture(frame)) if form == "gif" else picture(frame) for frame in frames]
    buffer = io.BytesIO()
    lossless = {"lossless": True} if form == "webp" else {}
    # GIF delays are in 1/100 s; players treat delays under 2/100 s as 10/100 s
    duration = max(2, round(100 / fps)) * 10 if form == "gif" else round(1000 / fps)
    first.save(
        buffer,
        "PNG" if form == "apng" else form.upper(),
        save_all=True,
        append_images=others,
        duration=duration,
        loop=0,
        **lossless,
    )
    return buffer.getvalue()


def _opaque(image: Image.Image) -> Image.Image:
    """Composite over white: GIF has no partial transparency."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def require(form: str) -> None:
    """Raise ExtraMissing if the package that writes this format is not installed."""
    try:
        if form == "mp4":
            import imageio_ffmpeg  # noqa: F401  (the error of imageio does not name the extra)
    except ImportError as error:
        hint = "pip install 'gancli[video]', or use .gif or .webp for OUT"
        raise ExtraMissing("MP4 needs the video extra", where="OUT", hint=hint) from error


def _mp4(frames: Sequence[Pictures], fps: float) -> bytes:
    require("mp4")
    import imageio.v3 as iio

    even = [
        np.asarray(_opaque(picture(f)).convert("RGB"))[: f.shape[0] // 2 * 2, : f.shape[1] // 2 * 2] for f in frames
    ]
    encoded = iio.imwrite("<bytes>", even, extension=".mp4", fps=fps, macro_block_size=2)
    assert isinstance(encoded, bytes)
    return encoded


def save(path: Path, pixels: Pictures) -> None:
    """Write a PNG atomically. (H, W, C). Raises CannotCreate or StorageError."""
    files.replace_bytes(path, png(pixels))
