"""One decision for single runs and sweeps: start, resume, set aside, ask, or done."""

from __future__ import annotations

import itertools

import pytest

from crate.config.schema import Config
from crate.run.folder import RunFolder
from crate.run.status import Status
from crate.tasks import decision
from crate.tasks.decision import Verdict, decide, mixed, questions

CODE, DATA = {"other_code": ["a.py"]}, {"other_data": ["files in /x"]}
FINISHED = Status(state="finished", last=1.0, best=1.0)


@pytest.fixture
def changed(monkeypatch):
    """Return a function that sets the changes since a run was trained."""

    def choose(what):
        monkeypatch.setattr(decision, "changes", lambda meta, data: what)

    return choose


def verdict(path, status, **keys):
    return decide(path, status, Config(**keys)).verdict


def test_a_configuration_without_a_folder_starts_whatever_it_says(changed):
    changed(CODE | DATA)
    for rerun, resume in itertools.product((True, False), ("auto", "never")):
        assert verdict(None, Status(), rerun=rerun, resume=resume) is Verdict.START


@pytest.mark.parametrize("state", [None, "queued", "running", "stopped", "failed"])
def test_an_unfinished_run_resumes_unless_a_rerun_is_requested(changed, tmp_path, state):
    changed(CODE | DATA)
    status = Status(state=state, step=7)
    assert verdict(tmp_path, status) is Verdict.GO_ON
    assert verdict(tmp_path, status, other_code="rerun") is Verdict.GO_ON
    assert verdict(tmp_path, status, resume="never") is Verdict.SET_ASIDE
    assert verdict(tmp_path, status, rerun=True) is Verdict.SET_ASIDE


def test_a_finished_run_is_done_where_nothing_changed(changed, tmp_path):
    changed({})
    assert verdict(tmp_path, FINISHED) is Verdict.DONE
    assert verdict(tmp_path, FINISHED, resume="never") is Verdict.DONE
    assert verdict(tmp_path, FINISHED, other_code="rerun", other_data="rerun") is Verdict.DONE
    assert verdict(tmp_path, FINISHED, rerun=True) is Verdict.SET_ASIDE


def test_a_changed_finished_run_follows_the_key_of_its_change(changed, tmp_path):
    expected = {"ask": Verdict.ASK, "accept": Verdict.DONE, "rerun": Verdict.SET_ASIDE}
    for key, other in (("other_code", "other_data"), ("other_data", "other_code")):
        changed({key: ["a"]})
        for answer, wanted in expected.items():
            for ignored in expected:
                assert verdict(tmp_path, FINISHED, **{key: answer, other: ignored}) is wanted
    changed(CODE | DATA)
    keys = {"other_code": "ask", "other_data": "rerun"}
    assert verdict(tmp_path, FINISHED, **keys) is Verdict.SET_ASIDE
    asking = decide(tmp_path, FINISHED, Config(other_code="accept"))
    assert asking.verdict is Verdict.ASK and asking.asked == DATA


def test_each_kind_of_change_is_asked_about_once_and_by_its_own_key(changed, tmp_path):
    decisions = []
    for number, what in enumerate((CODE, CODE | DATA, {})):
        changed(what)
        decisions.append(decide(tmp_path / str(number), FINISHED, Config()))
    first, second = questions(decisions)
    assert "2 finished runs were trained by other code than there is now" in first.given
    assert first.given.endswith("changed since: a.py") and "other_code=rerun" in first.fix
    assert str(tmp_path / "1") in second.given and "other_data=rerun" in second.fix
    assert questions(decisions[2:]) == []


def test_resuming_an_unfinished_run_with_other_code_warns(changed, tmp_path):
    changed(CODE)
    assert mixed(tmp_path, Config()) == []
    RunFolder(tmp_path).update_status(step=7)
    assert mixed(tmp_path, Config()) == ["the first 7 steps were trained by other code: a.py"]
