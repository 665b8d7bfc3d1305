"""Hand frozen points over to a launcher; they are claimed first, so that nobody else does."""

from __future__ import annotations

import time
from dataclasses import replace

from crate.run.claim import Claim, JobId
from crate.run.folder import RunFolder, runs_by_signature
from crate.run.liveness import this_process
from crate.sweep.launchers.launcher import AnyLauncher, Request
from crate.sweep.stored.manifest import Attempt, Manifest


def hand_over(launcher: AnyLauncher, request: Request, manifest: Manifest) -> list[str]:
    """Claim the runs of `request.todo` and submit them; return the names of their jobs.

    The caller holds the lock of the outputs. Every job is in the manifest, and in its run's status,
    as soon as it has a name.
    """
    todo = {key: code.name for key, code in request.todo.items()}
    if not todo:
        return []
    paths = runs_by_signature(request.sweep.outputs)
    folders = {key: RunFolder(paths[key]) for key in todo}
    for key, folder in folders.items():
        folder.queue(Claim(process=this_process(), code=todo[key]))
    names: list[str] = []
    for jobs in launcher.submit(request):
        for key, name in jobs.items():
            job = JobId(launcher.name, name)
            if folders[key].status.state == "queued":  # otherwise it runs, and has its own claim
                folders[key].update_status(claim=Claim.to(job, todo[key]))
            attempt = replace(Attempt.to(job, todo[key]), time=time.time())
            manifest.points[key].attempts.append(attempt)
        request.sweep.write_manifest(manifest)
        names += jobs.values()
    return list(dict.fromkeys(names))
