"""What can go wrong with a fleet, each with the exit status that scripts may rely on."""

from nanonap.base.errors import NanonapError


class FleetUnreachable(NanonapError):
    """No scheduler answers there, or it has no worker, or they do not trust each other's certificates."""

    exit_code = 100


class FleetDiffers(NanonapError):
    """Hosts with another Python, nanonap or Dask than this one: their figures would not compare."""

    exit_code = 101


class HostsMissing(NanonapError):
    """Some hosts have no result; the message names them. What the others gave is kept and shown."""

    exit_code = 102
