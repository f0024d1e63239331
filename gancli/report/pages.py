"""Render templates to HTML text. Each page is a single self-contained file."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader


def render(template: str, values: Mapping[str, Any]) -> str:
    """Render a template of this package. Values are escaped unless the template marks them as safe."""
    environment = Environment(loader=PackageLoader("gancli.report"), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(values)
