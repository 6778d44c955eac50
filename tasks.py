"""The front door: what `invoke --list` shows. The tasks themselves are in nanonap/cli/, one file a side."""

from nanonap.cli.tasks import collection
from nanonap.cli.usage import open_front_door

open_front_door()

namespace = collection(checkout=True)
