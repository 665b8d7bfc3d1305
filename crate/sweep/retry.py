"""`retry`: runs again what did not finish, with the configuration frozen at its launch."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from crate.config.errors import UserError
from crate.progress import say_on_console
from crate.records import read_json
from crate.runfolder import RunFolder
from crate.sweep import background, local, options, snapshot
from crate.sweep.folder import SweepFolder, locked
from crate.sweep.handover import hand_over
from crate.sweep.manifest import LaunchEntry, Manifest
from crate.sweep.select import Selection
from crate.sweep.state import UNFINISHED

logger = logging.getLogger("crate")
FAILED = ("failed", "timeout", "out_of_memory", "dead")
LOST = ("lost",)


def retry(sweep: SweepFolder, wanted: list[str], states: tuple[str, ...], *, new_code: bool) -> int:
    """Hands the runs in `states` over again, to the launcher of the sweep's last launch.

    Each goes on from its last checkpoint, in the snapshot that it had, or in one of the checkout
    as it is now. Returns 1 where a run that was waited for did not finish.
    """
    say_on_console(True)
    manifest = sweep.manifest
    chosen = _options(manifest)
    with locked(sweep.outputs):
        selection = Selection(sweep, wanted)
        keys = selection.in_states(*states)
        todo = _snapshots(sweep, manifest, keys, new_code=new_code)
        for key in keys:
            if selection.paths[key] is None:
                values = read_json(sweep.point_file(key))
                RunFolder.create(str(sweep.outputs), values["label"], key)
        if todo:
            entry = LaunchEntry.of(chosen, done=0, joined=0, submitted=len(todo))
            manifest.launches.append(replace(entry, code=next(iter(todo.values())).name))
        heartbeat = local.Heartbeat.new(sweep)
        arrays = hand_over(sweep, manifest, todo, chosen, heartbeat)
    where = f", as Slurm job {', '.join(arrays)}" if arrays else ""
    logger.info("%s: %d to run again%s", sweep.path.name, len(todo), where)
    if isinstance(chosen, options.Local) and todo:
        swept = {key: selection.swept[key] for key in todo}
        devices = {read_json(sweep.point_file(key))["config"]["device"] for key in todo}
        request = local.Request(sweep, heartbeat, swept, todo, chosen, devices == {"cpu"})
        if chosen.wait is False:
            background.start(request)
            return 0
        local.run_all(request)
        ended = Selection(sweep, []).in_states(*UNFINISHED)
        return int(any(key in todo for key in ended))
    return 0


def _options(manifest: Manifest) -> options.Launcher:
    last = manifest.launches[-1]
    kind = {kind.__name__.lower(): kind for kind in options.KINDS}[last.launcher]
    return kind(**last.options | {"plan": False, "budget_h": None})


def _snapshots(
    sweep: SweepFolder, manifest: Manifest, keys: list[str], *, new_code: bool
) -> dict[str, Path]:
    """Returns the snapshot that each run is to be run by."""
    if new_code and keys:
        roots = {
            root
            for key in keys
            if (root := read_json(sweep.point_file(key))["config"]["data"].get("root"))
        }
        code = snapshot.take(sweep.outputs, excluded=[Path(root) for root in sorted(roots)])
        return dict.fromkeys(keys, code)
    found = {}
    for key in keys:
        codes = [each.code for each in manifest.points[key].attempts if each.code]
        codes = codes or [each.code for each in manifest.launches if each.code]
        found[key] = snapshot.place(sweep.outputs, codes[-1])
        if not found[key].is_dir():
            raise UserError(
                f"the snapshot {found[key]} is gone", "the checkout as it is now", "--new-code"
            )
    for code in set(found.values()):
        snapshot.require_intact(code)
    return found
