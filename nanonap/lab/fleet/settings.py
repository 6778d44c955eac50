"""Dask as a queue for measurements: settings that repeat nothing, steal nothing, and cost a host next to nothing."""

import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanonap.base.errors import OutputExists, UsageError
from nanonap.base.files import beside_folder
from nanonap.base.terminal import messages

if TYPE_CHECKING:
    from distributed.security import Security

DEFAULT_PORT, WORKER_PORT = 8786, 8787
RESOURCE = "bench"
#: Each has a certificate of its own. Dask looks at who signed it, not at whose it is: all roles are trusted alike.
ROLES = ("scheduler", "worker", "client")
_CA = "ca.pem"
#: A measurement is not repeated because a host was lost, and no other host takes it. A connection that is silent is
#: kept for ten minutes. All that is looked at for a dashboard, every few milliseconds, is left out.
SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "10m",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.comm.timeouts.tcp": "600s",
    "distributed.comm.timeouts.connect": "30s",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "10s",
    "distributed.admin.tick.limit": "60s",
    "distributed.admin.tick.cycle": "60s",
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.large-graph-warning-threshold": "1GB",
    "distributed.diagnostics.nvml": False,
}


def settle() -> None:
    """Take these settings, before any other part of Dask is used in this process; it says only what is an error."""
    import dask.config  # noqa: PLC0415 - Dask takes a second to import, and is not there without the extra
    import distributed  # noqa: PLC0415, F401 - brings its own settings, below ours

    dask.config.set(SETTINGS)
    for name in ("distributed", "distributed.worker", "distributed.scheduler", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def security(keys: Path | None, role: str, *, private: bool = False) -> "Security | None":
    """TLS 1.3 with the certificates of ``keys``; None without, and a warning unless the way is ``private``.

    Raises UsageError.
    """
    if keys is None and private:
        return None
    if keys is None:
        messages().print(
            "[yellow]warning[/] without --keys nothing is encrypted, and whoever reaches the port runs code here: keep "
            "it to the loopback or a private network",
            highlight=False,
        )
        return None
    from distributed.security import Security  # noqa: PLC0415 - as above

    own, ca = keys / f"{role}.pem", keys / _CA
    missing = [each.name for each in (own, ca) if not each.is_file()]
    if missing:
        raise UsageError(f"--keys {keys}: holds no {' and no '.join(missing)}; `nanonap fleet keys DIR` makes a set")
    return Security(
        tls_ca_file=str(ca),
        require_encryption=True,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        **{f"tls_{role}_cert": str(own), f"tls_{role}_key": str(own)},
    )


def make_keys(folder: Path) -> list[Path]:
    """A certificate authority for one fleet, whose own key is not kept, and a file for each role.

    Raises OutputExists, OutputNotWritable, DiskFull.
    """
    import trustme  # noqa: PLC0415 - as above

    if folder.exists() and any(folder.iterdir()):
        raise OutputExists(f"{folder}: not empty; name a new folder for a new set of keys")
    authority = trustme.CA(organization_name="nanonap fleet")
    with beside_folder(folder) as made:
        authority.cert_pem.write_to_path(str(made / _CA))
        for role in ROLES:
            own = authority.issue_cert(f"{role}.nanonap", common_name=f"{role}.nanonap")
            target = made / f"{role}.pem"
            target.touch(mode=0o600)
            own.private_key_and_cert_chain_pem.write_to_path(str(target))
        made.chmod(0o700)
    return [folder / _CA, *(folder / f"{role}.pem" for role in ROLES)]
