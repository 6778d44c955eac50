"""The letters that users' scripts write stay: Invoke gives them out in the order of a task's parameters."""

import pytest

from tests.cli.options import tasks

LETTERS = {
    "build": "g=go j=json m=mode o=go-binary",
    "patch": "a=accept-thread-cost b=binary d=dense f=force j=json l=slack-ns o=out p=spin q=quantum s=strategy",
    "inspect": "j=json p=path",
    "verify": "j=json p=path",
    "revert": "c=check f=force j=json o=out p=path",
    "bench": "a=arms b=backend c=conditions f=full g=gomaxprocs i=inside-limit j=json l=load m=memory-max o=out "
    "p=cpu-weight q=quick r=requested s=seed t=tables u=quota",
    "report": "f=folder o=format u=out",
    "experiment": "b=backend f=folder i=inside-limit j=json n=name o=out q=quick",
}


@pytest.mark.parametrize("task", LETTERS)
def test_a_letter_stays_with_its_option(task: str) -> None:
    names = [each.names for each in tasks()[task].get_arguments()]
    found = {letter: name.replace("_", "-") for name, *letters in names for letter in letters if len(letter) == 1}
    wanted = dict(each.split("=") for each in LETTERS[task].split())
    assert found.items() >= wanted.items()
