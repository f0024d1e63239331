"""Pictures out: one picture, a grid, an animation. In: arrays from networks; uint8 (N, H, W, C)."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gancli.errors import ExtraMissing

Pictures = NDArray[np.uint8]

ANIMATIONS = ("gif", "webp", "png", "apng", "mp4")


def to_bytes(x: Tensor) -> Pictures:
    """[-1, 1] to 0..255, rounded and clipped. (N, C, H, W) -> (N, H, W, C) uint8."""
    scaled = x.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    pictures: Pictures = scaled.byte().permute(0, 2, 3, 1).cpu().numpy()
    return pictures


def picture(pixels: Pictures) -> Image.Image:
    """One picture of 1, 3 or 4 channels. (H, W, C)."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def enlarged(pixels: Pictures, height: int | None) -> Pictures:
    """Every pixel as a square block, so that the picture is about `height` pixels high. (..., H, W, C)."""
    factor = 1 if height is None else max(1, height // pixels.shape[-3])
    return pixels.repeat(factor, axis=-3).repeat(factor, axis=-2)


def grid(pictures: Pictures, columns: int | None = None) -> Pictures:
    """Pictures side by side, row by row; missing ones are white. (N, H, W, C) -> (rows H, columns W, C)."""
    n, h, w, c = pictures.shape
    columns = min(n, columns or default_columns(n, h, w))
    rows = -(-n // columns)
    blank = np.full((rows * columns - n, h, w, c), 255, np.uint8)
    tiles = np.concatenate([pictures, blank]).reshape(rows, columns, h, w, c)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)


def default_columns(n: int, height: int, width: int) -> int:
    """As many columns as make the grid about square."""
    return max(1, round(math.sqrt(n * height / width)))


def png(pixels: Pictures) -> bytes:
    """One picture as the bytes of a PNG. (H, W, C)."""
    buffer = io.BytesIO()
    picture(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def animation(frames: Iterable[Pictures], form: str, fps: float) -> bytes:
    """Frames (H, W, C) as one of ANIMATIONS that repeats for ever. Raises ExtraMissing for MP4 without its extra."""
    if form == "mp4":
        return _mp4(list(frames), fps)
    first, *others = [_opaque(picture(frame)) if form == "gif" else picture(frame) for frame in frames]
    buffer = io.BytesIO()
    lossless = {"lossless": True} if form == "webp" else {}
    # a GIF counts hundredths of a second, and players take less than two of them for ten
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
    """A GIF has no soft transparency: compose over white."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def require(form: str) -> None:
    """Is what writes this form installed? Raises ExtraMissing."""
    try:
        if form == "mp4":
            import imageio_ffmpeg  # noqa: F401  (imageio's own error names no extra)
    except ImportError as error:
        hint = "pip install 'gancli[video]', or end OUT in .gif or .webp"
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
    """Write one picture; the suffix says how. (H, W, C)."""
    picture(pixels).save(path)
