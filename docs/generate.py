"""What the docs say of the code, written from the code: the table of figures, and the schema of the JSON.

    python docs/generate.py

A test compares the files with what this would write.
"""

import json
from pathlib import Path

import pydantic

from gancli.health import GROUPS, Health
from gancli.results import SCHEMA_VERSION
from gancli.stats.figures import FIGURES, KINDS, FigureSpec

DOCS = Path(__file__).parent


def figures() -> str:
    """Every figure of the panel as one Markdown table."""
    rows = [row(spec) for group in GROUPS for spec in FIGURES.values() if spec.group == group]
    head = "| group | key | shown as | of | watch; bad | meaning |\n|---|---|---|---|---|---|\n"
    return (
        "# Every figure of inspect-stats\n\n"
        "Made from `gancli/stats/figures.py` by `python docs/generate.py`. The key is stable: scripts go by it. A\n"
        "figure of several channels, levels or networks says which in `part`. Marks are relative to the baseline, the\n"
        "same figure between two halves of the reals. `--quick` leaves out those with an asterisk.\n"
        "[inspect-stats.md](inspect-stats.md) has the definitions and sources.\n\n" + head + "".join(rows)
    )


def row(spec: FigureSpec) -> str:
    """One line of the table."""
    kinds = "all" if spec.kinds == KINDS else ", ".join(spec.kinds)
    mark = "not judged" if spec.mark is None else str(spec.mark)
    quick = "" if spec.quick else " *"
    return f"| {spec.group} | `{spec.key}`{quick} | {spec.label} | {kinds} | {mark} | {spec.meaning} |\n"


def schema() -> str:
    """The JSON schema of `inspect-stats --json`."""
    body = pydantic.TypeAdapter(Health).json_schema()
    body["properties"] = {"schema_version": {"const": SCHEMA_VERSION}, **body["properties"]}
    return json.dumps(body, indent=2) + "\n"


FILES = {"figures.md": figures, "health.schema.json": schema}


def main() -> None:
    """Write all of them."""
    for name, text in FILES.items():
        (DOCS / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
