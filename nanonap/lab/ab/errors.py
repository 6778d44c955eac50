"""What can go wrong with a service that is not ours, and with its load. Exit statuses 80 … 89."""

from nanonap.base.errors import NanonapError


class NeverReady(NanonapError):
    """The service lives, and did not become ready in time."""

    exit_code = 80


class ServiceDied(NanonapError):
    """The service could not be started, or ended before it was told to; the message has its last words."""

    exit_code = 81


class PortTaken(NanonapError):
    """Somebody answers at the service's place before it was started."""

    exit_code = 82


class LoadFailed(NanonapError):
    """The load could not be started, failed, or took too long."""

    exit_code = 83


class MetricMissing(NanonapError):
    """A metric was not found in what the load wrote."""

    exit_code = 84


class NotStock(NanonapError):
    """The running process is no stock program: injected already, or patched by file."""

    exit_code = 85
