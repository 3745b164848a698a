"""``permalog agent``: the security agent from the command line."""

from __future__ import annotations

from typing import Final

import typer

from permalog_server.commands import judging

app: Final = typer.Typer(help="Work with the security agent.", no_args_is_help=True, rich_markup_mode=None)
app.command("analyze")(judging.analyze)
app.command("dismiss")(judging.dismiss)
app.command("auto-dismiss")(judging.auto_dismiss_eligible)
app.command("jobs")(judging.jobs)
