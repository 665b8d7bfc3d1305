"""The commands of `python -m crate.sweep`: a module each, and a row here.

A module provides `HELP`, `add_arguments` and `run`; see `crate.config.commandline.program.Command`.
"""

COMMANDS = {
    "list": "crate.sweep.commands.list",
    "status": "crate.sweep.commands.status",
    "tail": "crate.sweep.commands.tail",
    "logs": "crate.sweep.commands.logs",
    "path": "crate.sweep.commands.path",
    "results": "crate.sweep.commands.results",
    "cancel": "crate.sweep.commands.cancel",
    "retry": "crate.sweep.commands.retry",
    "clean": "crate.sweep.commands.clean",
    "sync": "crate.sweep.commands.sync",
}
