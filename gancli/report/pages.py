"""Templates to text: every page is one file with all it shows in it."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader


def render(template: str, values: Mapping[str, Any]) -> str:
    """A template of this package with its values. What is no SVG of ours is escaped."""
    environment = Environment(loader=PackageLoader("gancli.report"), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(values)
