"""What happens to a configuration that may have a run folder already: one rule for all launches.

| verdict | when |
|---|---|
| START | there is no run yet |
| GO_ON | the run is not finished |
| SET_ASIDE | `rerun=true`; or `resume=never`, for an unfinished run; or `other_code=rerun` or |
| | `other_data=rerun`, for a finished run whose code or images changed |
| ASK | the run is finished, its code or images changed, and the user has not decided yet |
| DONE | the run is finished, and nothing changed, or the user accepts what did |

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from crate.config.schema import Config
from crate.errors import UserError, shorten
from crate.run.folder import RunFolder
from crate.run.status import Status
from crate.tasks.changes import Changes, Key, changes

TRAINED: dict[Key, str] = {
    "other_code": "trained by other code",
    "other_data": "trained on other images",
}


class Verdict(Enum):
    """What is done with a configuration; see the table above."""

    START = "start"
    GO_ON = "go on"
    SET_ASIDE = "set aside"
    ASK = "ask"
    DONE = "done"


@dataclass(frozen=True)
class Decision:
    """A verdict, the run folder it is about, and the changes that the user is asked about."""

    verdict: Verdict
    path: Path | None
    asked: Changes = field(default_factory=dict)


def decide(path: Path | None, status: Status, config: Config) -> Decision:
    """Return what happens to `config`, whose run folder is `path` (None: it has none).

    `status` is the status of that folder.
    """
    if path is None:
        return Decision(Verdict.START, None)
    if status.state != "finished":
        is_anew = config.rerun or config.resume == "never"
        return Decision(Verdict.SET_ASIDE if is_anew else Verdict.GO_ON, path)
    if config.rerun:
        return Decision(Verdict.SET_ASIDE, path)
    changed = changes(RunFolder(path).meta, config.data)
    if any(getattr(config, key) == "rerun" for key in changed):
        return Decision(Verdict.SET_ASIDE, path)
    asked: Changes = {key: what for key, what in changed.items() if getattr(config, key) == "ask"}
    return Decision(Verdict.ASK if asked else Verdict.DONE, path, asked)


def questions(decisions: Iterable[Decision]) -> list[UserError]:
    """Return one error for each kind of change that the user has yet to decide about."""
    asking = [each for each in decisions if each.verdict is Verdict.ASK]
    errors = []
    for key, trained in TRAINED.items():
        about = [each for each in asking if key in each.asked]
        if not about:
            continue
        names = shorten(dict.fromkeys(name for each in about for name in each.asked[key]), 6)
        runs = f"{len(about)} finished runs were"
        if len(about) == 1:
            runs = f"{about[0].path} was"
        errors.append(
            UserError(
                f"{runs} {trained} than there is now; changed since: {names}",
                "the results as they are, or training anew",
                f"{key}=accept or {key}=rerun",
            )
        )
    return errors


def mixed(path: Path, config: Config) -> list[str]:
    """Return warnings for an unfinished run whose next steps use other code or images."""
    folder = RunFolder(path)
    step = folder.status.step
    if not step:
        return []
    return [
        f"the first {step} steps were {TRAINED[key]}: {shorten(names, 6)}"
        for key, names in changes(folder.meta, config.data).items()
    ]
