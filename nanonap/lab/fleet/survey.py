"""Who is in a fleet, of which versions, and what each host can do."""

import json
from dataclasses import asdict
from typing import Any

from nanonap.lab.fleet import hosted
from nanonap.lab.fleet.client import Fleet, addresses, connected, described
from nanonap.lab.fleet.settings import RESOURCE
from nanonap.lab.show.tables import NONE, Section, Table
from nanonap.lab.show.terminal import print_table

_SURVEY_S = 300


def survey_hosts(fleet: Fleet, *, abilities: bool) -> list[dict[str, Any]]:
    """A document for each host; with ``abilities`` each is tried, when the host has nothing else to do.

    Raises FleetUnreachable.
    """
    with connected(fleet) as client:
        hosts = described(client)
        here = hosted.versions()
        found = [{**asdict(each), "same": each.versions == here, "abilities": None} for each in hosts]
        if abilities:
            known = addresses(client)
            asked = [
                client.submit(hosted.abilities, workers=[known[each.name]], resources={RESOURCE: 1}, pure=False)
                for each in hosts
            ]
            for host, future in zip(found, asked, strict=True):
                answer = future.result(timeout=_SURVEY_S)
                host["abilities"] = json.loads(answer["found"]) if "found" in answer else answer
    return found


def show_hosts(found: list[dict[str, Any]]) -> None:
    """A row for each."""
    rows = []
    for each in found:
        facts, versions, able = each["facts"], each["versions"], each["abilities"]
        limits = [one["backend"] for one in able.get("backends", ()) if one["works"]] if able else []
        traced = NONE if not able else "no" if able.get("no_tracing", "unknown") else "yes"
        dask = f"{versions['python']}, {versions['nanonap']}, {versions['distributed']}"
        same = "" if each["same"] else " (not as here)"
        rows.append([each["name"], f"{dask}{same}", facts["kernel"], ", ".join(limits) or NONE, traced])
    columns = ("host", "Python, nanonap, Dask", "kernel", "limits CPU by", "traces")
    print_table(Table("", columns, [Section("", rows)]))
