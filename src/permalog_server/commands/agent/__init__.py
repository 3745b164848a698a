"""``permalog agent``: the security agent from the command line, one module a subject."""

from __future__ import annotations

from typing import Final

import typer

from permalog_server.commands import judging
from permalog_server.commands.agent import configuring, findings, syncing

app: Final = typer.Typer(help="Work with the security agent.", no_args_is_help=True, rich_markup_mode=None)
app.command("connect")(configuring.connect)
app.command("enable")(configuring.enable)
app.command("disable")(configuring.disable)
app.command("config")(configuring.config)
app.command("sync")(syncing.sync)
app.command("findings")(findings.findings)
app.command("analyze")(judging.analyze)
app.command("dismiss")(judging.dismiss)
app.command("auto-dismiss")(judging.auto_dismiss_eligible)
app.command("jobs")(judging.jobs)
