"""A stand-in for GitHub: a server on a real socket that behaves like it for what the agent asks.

`permalog demo` syncs from it, and the tests do, which hold every request and answer to GitHub's own OpenAPI document.
It never leaves this machine: nothing of it runs in `permalog serve`.
"""

from permalog_server.standin.faults import Fault
from permalog_server.standin.running import StandIn
from permalog_server.standin.world import World

__all__ = ["Fault", "StandIn", "World"]
