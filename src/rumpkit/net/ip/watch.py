"""Who wants to know of interfaces: between `service`, which tells, and what lives on interfaces without IP's knowing, as DHCP."""

from mypy_extensions import mypyc_attr

from ...hyper.time import Instant
from ..link.interface import Interface


@mypyc_attr(allow_interpreted_subclasses=True)
class InterfaceWatcher:
    """Who hears of interfaces' comings and goings (`Ip.watchers`)."""

    def came_up(self, interface: Interface, now: Instant) -> None:
        """It lets frames through again."""

    def goes_away(self, interface: Interface, now: Instant) -> None:
        """It is about to be removed; as yet it has its addresses."""
