"""Writes the golden files of a version: pictures, their data cache, and a run on them that was stopped half-way.

    python tests/golden/make.py

They are made once for a version, and never again: later versions must open what this version has written.
"""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from conftest import make_pictures, write_preset  # noqa: E402

import gancli  # noqa: E402


def main() -> None:
    """Write tests/golden/<version>/."""
    place = HERE / gancli.__version__
    place.mkdir()
    os.environ["GANCLI_CACHE_DIR"] = str(place / "cache")
    pictures = make_pictures(place / "pictures", 24, size=16)
    preset = write_preset(place / "golden.yaml", {"train.duration": 160, "network.output": "bn-tanh"})
    gancli.train(preset, str(pictures), changes={"train.duration": 80}, outdir=place, name="run", threads=1)
    config = place / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(place), "PLACE"))  # the test puts its own path there
    for file in (
        place / "run" / ".lock",
        *place.glob("cache/*.lock"),
        *place.glob("run/samples/*"),
        place / "run/reals.png",
    ):
        file.unlink(missing_ok=True)
    shutil.rmtree(place / "cache" / "stamps")  # of this machine's files


if __name__ == "__main__":
    main()
