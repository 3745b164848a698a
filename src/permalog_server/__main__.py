"""``python -m permalog_server``: the same as the command ``permalog``."""

from permalog_server.cli import main

main()
