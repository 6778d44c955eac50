"""`invoke predict`: every quota with every number of threads, as a table, as JSON, as a picture."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from nanonap.base.errors import UsageError
from nanonap.lab.model.model import predict
from nanonap.lab.quota.limits import Quota, parse_quota
from nanonap.lab.show.predict import own_table, prediction_table, predictions_json, run_predict, show_predictions

MS = 1_000_000
HALF = Quota(50 * MS, 100 * MS)


def test_the_command_predicts_every_quota_with_every_number_of_threads() -> None:
    made = run_predict("50%, 20%/10ms,50%", "1,2", cpus=2)
    assert [(str(each.quota), each.threads) for each in made] == [
        ("50%", 1),
        ("50%", 2),
        ("20%/10ms", 1),
        ("20%/10ms", 2),
    ]
    document = json.loads(json.dumps(predictions_json(made)))
    assert document["schema"] == 1
    assert document["predictions"][1]["stall_ns"] == 75 * MS


def test_the_table_shows_what_was_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    made = run_predict("50%+burst=50ms,none,1%", "1", cpus=2, gomaxprocs=1, sleep="100us", wake_cpu="25us", sleepers=3)
    show_predictions(made)
    shown = capsys.readouterr().out
    for text in ("50%+burst=50ms", "50.0 ms", "never", "12.5 ms", "GOMAXPROCS 1", "150 ms", "upper bounds", "60.0 ×"):
        assert text in shown, text
    for table in (prediction_table(made), own_table(made)):
        assert {len(row) for section in table.sections for row in section.rows} == {len(table.columns)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quota": "50%/2s"}, "1ms to 1s"),
        ({"quota": ","}, "--quota is empty"),
        ({"quota": "50%", "threads": "two"}, "--threads two"),
        ({"quota": "50%", "threads": "-1"}, "--threads -1"),
        ({"quota": "50%", "threads": "1000000"}, "threads"),
        ({"quota": "50%", "sleep": "1ms"}, "--wake-cpu"),
        ({"quota": "50%", "sleepers": 3}, "--sleep"),
        ({"quota": "50%", "threads": ",".join(map(str, range(201)))}, "at most 200"),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_predict(**options)


def test_the_plot_is_a_picture_and_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "model.png"
    run_predict("50%,20%/10ms,none", "0,1,2", cpus=2, plot=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_the_share_of_sleeps_hit_needs_no_period() -> None:
    shares = {predict(parse_quota(f"30%/{period}"), 1, 1).hit_probability for period in ("10ms", "50ms", "1s")}
    assert all(math.isclose(share, 0.7) for share in shares)
