"""Render templates to HTML text. Each page is a single self-contained file."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader

from gancli.results import printable


def render(template: str, values: Mapping[str, Any]) -> str:
    """Render a template of this package. Values are escaped and cleaned unless the template marks them as safe."""
    environment = Environment(
        loader=PackageLoader("gancli.report"), autoescape=True, trim_blocks=True, finalize=_cleaned
    )
    return environment.get_template(template).render(values)


def _cleaned(value: Any) -> Any:
    """Text on one line without control, bidirectional and other invisible characters. HTML keeps its lines."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return type(value)("\n".join(map(printable, value.split("\n")))) if hasattr(value, "__html__") else printable(value)
