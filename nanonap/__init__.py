"""The command and the lab: measures what `patcher` changes, and shows that it does no harm."""

from pathlib import Path

__version__ = "0.1.0"
INSTALLED = Path(__file__).with_name("gosrc").is_dir()
"""Whether this was installed from a wheel, which holds the Go sources; in a checkout they lie beside this package."""
