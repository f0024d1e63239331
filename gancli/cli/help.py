"""Layout of `--help`: options are grouped in panels, and flags have no type."""

from typing import Any

from typer.core import TyperCommand, TyperOption

DATA, OUTPUT, MACHINE, LOGGING = "Data", "Output and resume", "Machine", "Logging"
PANELS = {  # panel by parameter name; all other options are in the command's own panel
    **dict.fromkeys(("mirror", "channels", "fit", "strict", "rescan", "against", "features"), DATA),
    **dict.fromkeys(
        ("output", "out", "form", "outdir", "run", "new", "snap", "start_from", "json", "plot", "cols", "size"), OUTPUT
    ),
    **dict.fromkeys(("device", "threads", "jobs", "precision"), MACHINE),
    **dict.fromkeys(("tick", "log_format", "quiet", "verbose", "no_progress"), LOGGING),
}
OWN = {"train": "Training", "grow": "Training", "resume": "Training", "ablate": "Comparison", "sample": "Sampling",
       "interpolate": "Sampling", "inspect-stats": "Evaluation", "report": "Evaluation"}  # fmt: skip


class Command(TyperCommand):
    """A command whose options are grouped in panels."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters with their panels; flags have no type."""
        params = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperOption):
                own = OWN.get(self.name or "", "Options")
                param.rich_help_panel = PANELS.get(param.name or "", own) if param.name != "help" else LOGGING
                if param.is_flag or param.count:
                    param.metavar = ""
        return params
