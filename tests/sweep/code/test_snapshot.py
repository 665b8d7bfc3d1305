"""A snapshot holds exactly the code of the checkout at the time of the snapshot."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from crate.errors import UserError
from crate.paths import CHECKOUT
from crate.run import code_record, provenance, secrets
from crate.sweep.code import checkout as code_of_checkout
from crate.sweep.code import snapshot
from crate.sweep.code.snapshot import require_intact, take

SOURCES = {
    "launch.py": "print(1)\n",
    "crate/__init__.py": "",
    "crate/help.txt": "help\n",
    "conf/config.yaml": "a: 1\n",
    "requirements.txt": "torch\n",
}
_fork = multiprocessing.get_context("fork")


def write(folder: Path, **files: str | bytes) -> None:
    """Write files by name; pass names that are no identifiers as **{"a/b.py": ...}."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def git(folder: Path, *arguments: str) -> str:
    settings = ("user.name=A", "user.email=a@b", "core.excludesFile=", "commit.gpgSign=false")
    settings += ("protocol.file.allow=always",)
    options = [option for setting in settings for option in ("-c", setting)]
    command = ["git", "-C", str(folder), *options, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> str:
    """Commit what git does not ignore in a folder to a new repository; return the revision."""
    git(folder, "init", "-q")
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", "first")
    return git(folder, "rev-parse", "HEAD").strip()


def held(folder: Path) -> dict[str, bytes]:
    """Return the contents of a snapshot by name."""
    files = (file for file in folder.rglob("*") if file.is_symlink() or file.is_file())
    contents = {
        str(file.relative_to(folder)): file.read_bytes() for file in files if file.is_file()
    }
    assert contents.pop(".snapshot.json")
    return contents


def about(folder: Path) -> dict:
    return json.loads((folder / ".snapshot.json").read_text())


@pytest.fixture(autouse=True)
def no_hook(monkeypatch):
    for name in provenance.HOOK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    write(folder, **SOURCES)
    return folder


def test_a_dirty_checkout_is_taken_as_it_lies_there(checkout):
    write(checkout, **{".gitignore": "ignored.py\n", "weights.npz": b"\0\1", "gone.py": "0"})
    revision = commit(checkout)
    (checkout / "gone.py").unlink()
    (checkout / "launch.py").chmod(0o755)
    write(
        checkout,
        **{
            "launch.py": "print(2)\n",
            "new.py": "1",
            "conf/new.yaml": "b: 2\n",
            "new.bin": b"\0",
            "results.json": "{}",
            "ignored.py": "1",
            "venv/pyvenv.cfg": "home = /usr\n",
            "venv/lib/module.py": "1",
            "outputs/runs/a/config.py": "1",
            "data/train/labels.yaml": "1",
        },
    )
    copied = take(checkout / "outputs", [checkout / "data"], checkout)
    expected = {name: text.encode() for name, text in SOURCES.items()} | {
        "launch.py": b"print(2)\n",
        "new.py": b"1",
        "conf/new.yaml": b"b: 2\n",
        ".gitignore": b"ignored.py\n",
        "weights.npz": b"\0\1",
    }
    assert held(copied) == expected and copied.parent == checkout / "outputs" / "code"
    facts = about(copied)
    assert facts["revision"] == revision and facts["files"] == len(expected)
    assert facts["mb"] == round(sum(map(len, expected.values())) / 1e6, 3)
    assert "+print(2)" in facts["dirty_diff"] and facts["taken_from"] == str(checkout)
    assert (copied / "launch.py").stat().st_mode & 0o777 == 0o555
    assert not (copied / "new.py").stat().st_mode & 0o333


def test_no_secret_is_copied_or_shown_even_where_git_tracks_it(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "by-its-value")
    secrets.known.cache_clear()
    names = [
        *(".env", ".env.local.yaml", "id_rsa", "certificates/Secret.PEM", "a.key.py/b.key"),
        *("id_ed25519.pub", "conf/credentials.yaml", ".netrc", ".env.d/settings.py"),
    ]
    write(checkout, **dict.fromkeys(names, "by-its-past"))
    (checkout / "harmless.py").symlink_to("id_rsa")
    (checkout / "outside.py").symlink_to(tmp_path / "my_credentials")
    (checkout / ".env.yaml").symlink_to(tmp_path / "plain")
    commit(checkout)
    write(checkout, **dict.fromkeys(names, "by-its-name"), **{"untracked.secret": "1"})
    write(checkout, **{"launch.py": "by-its-value"})
    write(tmp_path, my_credentials="by-its-name", plain="by-its-name")
    (checkout / "a.key.py").rename(checkout / "plain")  # so that a deletion is in the diff
    copied = take(tmp_path / "outputs", [], checkout)
    secrets.known.cache_clear()
    assert held(copied).keys() == SOURCES.keys()
    assert "<SOME_API_KEY>" in about(copied)["dirty_diff"]
    stored = (copied / ".snapshot.json").read_text()
    assert not any(text in stored for text in ("by-its", "PEM", "id_rsa", "netrc", ".key"))


@pytest.mark.parametrize("case", ["no repository", "no git", "a folder of another repository"])
def test_without_git_the_sources_are_the_same(case, checkout, tmp_path, monkeypatch):
    if case == "no git":
        commit(checkout)
        monkeypatch.setenv("PATH", str(tmp_path))
    if case == "a folder of another repository":
        write(tmp_path, **{"elsewhere.py": "1", ".gitignore": "checkout\n"})
        commit(tmp_path)
    others = "venv/pyvenv.cfg venv/a.py .hidden/a.py build/a.py node_modules/a.py a.egg-info/a.py"
    others += " crate/__pycache__/a.py .env weights.bin id_rsa.py outputs/a.py data/a.py"
    write(checkout, **dict.fromkeys(others.split(), "1"), **{"crate/build/a.py": "1"})
    copied = take(checkout / "outputs", [checkout / "data"], checkout)
    assert held(copied).keys() == SOURCES.keys() | {"crate/build/a.py"}
    assert about(copied)["revision"] is None and about(copied)["dirty_diff"] is None


def test_a_checkout_tracked_by_a_repository_around_it_has_that_revision(checkout, tmp_path):
    write(tmp_path, paper="1")
    revision = commit(tmp_path)
    write(tmp_path, paper="2", **{"checkout/launch.py": "print(3)\n"})
    copied = take(tmp_path / "outputs", [], checkout)
    assert held(copied).keys() == SOURCES.keys() and about(copied)["revision"] == revision
    assert "print(3)" in about(copied)["dirty_diff"] and "paper" not in about(copied)["dirty_diff"]


def test_a_git_hook_of_another_repository_changes_nothing(checkout, tmp_path, monkeypatch):
    revision = commit(checkout)
    write(tmp_path / "other", a="1")
    commit(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    copied = take(tmp_path / "outputs", [], checkout)
    assert held(copied).keys() == SOURCES.keys() and about(copied)["revision"] == revision


def test_repositories_within_the_checkout_are_taken_too(checkout, tmp_path):
    write(tmp_path / "library", **{"module.py": "1", "table.bin": "2"})
    commit(tmp_path / "library")
    commit(checkout)
    git(checkout, "submodule", "--quiet", "add", str(tmp_path / "library"), "sub")
    git(checkout, "clone", "--quiet", str(tmp_path / "library"), "cloned")
    write(checkout, **{"sub/module.py": "edited", "sub/new.py": "3"})
    copied = held(take(tmp_path / "outputs", [], checkout))
    assert copied["sub/module.py"] == b"edited" and copied["sub/new.py"] == b"3"
    extra = {"sub/module.py", "sub/new.py", "sub/table.bin", "cloned/module.py", ".gitmodules"}
    assert copied.keys() == SOURCES.keys() | extra


def test_links_stay_within_the_copy_or_become_what_they_point_to(checkout, tmp_path):
    write(tmp_path / "elsewhere", **{"settings.yaml": "1", "folder/a.py": "2"})
    (checkout / "settings.yaml").symlink_to(tmp_path / "elsewhere" / "settings.yaml")
    (checkout / "again.py").symlink_to("launch.py")
    (checkout / "loop.py").symlink_to("loop.py")
    (checkout / "gone.py").symlink_to("nowhere.py")
    (checkout / "crate" / "conf").symlink_to(checkout / "conf")
    (checkout / "library").symlink_to(tmp_path / "elsewhere" / "folder")
    (checkout / "data").symlink_to(tmp_path / "images")
    write(tmp_path / "images", **{"a.py": "3"})
    (checkout / "outputs").symlink_to(tmp_path / "outputs")
    (tmp_path / "outputs").mkdir()
    for with_git in (False, True):
        if with_git:
            commit(checkout)
        copied = take(checkout / "outputs", [checkout / "data"], checkout)
        assert held(copied).keys() == SOURCES.keys() | {"settings.yaml", "again.py"}
        assert not any((copied / name).is_symlink() for name in held(copied))
        assert (copied / "crate" / "conf").resolve() == copied.resolve() / "conf"
        assert (copied / "library" / "a.py").resolve() == tmp_path / "elsewhere" / "folder" / "a.py"
        links = {file.name for file in copied.rglob("*") if file.is_symlink()}
        assert links == {"conf", "library"}


def test_a_folder_that_became_a_link_since_git_saw_it_is_a_link(checkout, tmp_path):
    write(checkout, **{"library/a.py": "1"})
    commit(checkout)
    (checkout / "library").rename(tmp_path / "library")
    (checkout / "library").symlink_to(tmp_path / "library")
    copied = take(tmp_path / "outputs", [], checkout)
    assert held(copied).keys() == SOURCES.keys() and (copied / "library").is_symlink()


@pytest.mark.parametrize("around", [".", ".."])
def test_outputs_or_data_around_the_checkout_do_not_leave_everything_out(checkout, around):
    commit(checkout)
    outputs = (checkout / around).resolve()
    first = take(outputs, [outputs], checkout)
    write(outputs, **{"runs/a/config.py": "1"})
    assert take(outputs, [outputs], checkout) == first and held(first).keys() == SOURCES.keys()


def test_too_large_a_checkout_is_refused_with_its_largest_files(checkout, tmp_path, monkeypatch):
    for number in range(7):
        write(checkout, **{f"big {number}.bin": bytes(1_000_000 + 100_000 * number)})
    commit(checkout)
    with monkeypatch.context() as patch:
        patch.setattr(code_of_checkout, "MAX_MB", 9)
        with pytest.raises(UserError) as raised:
            take(tmp_path / "outputs", [], checkout)
    shown = [line.strip() for line in raised.value.given.splitlines()[1:]]
    assert shown == [f"1.{number} MB  'big {number}.bin'" for number in (6, 5, 4, 3, 2)]
    assert "takes 9.1 MB" in raised.value.given and "9 MB" in raised.value.allowed
    assert "git rm --cached" in raised.value.fix and "data.root" in raised.value.fix
    assert not (tmp_path / "outputs").exists()
    assert take(tmp_path / "outputs", [], checkout)  # the true limit
    with open(checkout / "new.py", "wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(UserError, match=r"50\.0 MB  'new.py'"):
        take(tmp_path / "outputs", [], checkout)


def test_one_state_of_the_code_is_stored_once_and_any_change_is_another(
    checkout, tmp_path, monkeypatch
):
    write(checkout, untracked="1")
    git(checkout, "init", "-q")
    git(checkout, "add", "launch.py")
    git(checkout, "commit", "-qm", "first")
    outputs, seen = tmp_path / "outputs", []

    def changed() -> bool:
        copied = take(outputs, [], checkout)
        with monkeypatch.context() as patch:
            patch.setattr(snapshot, "_store", None)  # nothing is copied again
            assert take(outputs, [], checkout) == copied
        is_new = copied not in seen
        seen.append(copied)
        return is_new

    assert changed()
    write(checkout, untracked="2")
    assert not changed()
    write(checkout, **{"launch.py": "print(9)\n"})
    assert changed()
    (checkout / "crate" / "__init__.py").chmod(0o755)
    assert changed()
    (checkout / "crate" / "__init__.py").rename(checkout / "crate" / "other.py")
    assert changed()
    git(checkout, "add", "launch.py")
    git(checkout, "commit", "-qm", "the same files, another revision")
    assert changed()
    write(checkout, **{"launch.py": SOURCES["launch.py"]})
    (checkout / "crate" / "other.py").rename(checkout / "crate" / "__init__.py")
    (checkout / "crate" / "__init__.py").chmod(0o644)
    git(checkout, "reset", "-q", "--hard", "HEAD~1")
    assert not changed() and seen[-1] == seen[0]
    assert len(os.listdir(outputs / "code")) == len(set(seen)) == 5


def _take_at_the_barrier(gate, outputs, checkout, answers) -> None:
    gate.wait()
    answers.put(take(outputs, [], checkout))


def test_ten_processes_at_once_make_one_snapshot(checkout, tmp_path):
    write(checkout, **{f"crate/m{number}.py": str(number) for number in range(100)})
    commit(checkout)
    gate, answers = _fork.Barrier(10), _fork.Queue()
    arguments = (gate, tmp_path / "outputs", checkout, answers)
    takers = [_fork.Process(target=_take_at_the_barrier, args=arguments) for _ in range(10)]
    for taker in takers:
        taker.start()
    copied = {answers.get(timeout=60) for _ in takers}
    for taker in takers:
        taker.join()
    assert [taker.exitcode for taker in takers] == [0] * 10
    assert list((tmp_path / "outputs" / "code").iterdir()) == list(copied)
    assert len(held(copied.pop())) == len(SOURCES) + 100


def test_a_killed_copy_is_no_snapshot_and_is_removed_after_a_day(checkout, tmp_path, monkeypatch):
    outputs = tmp_path / "outputs"
    monkeypatch.setattr(snapshot, "_write", lambda path, copy: os._exit(9))
    killed = _fork.Process(target=take, args=(outputs, [], checkout))
    killed.start()
    killed.join()
    monkeypatch.undo()
    (left,) = (outputs / "code").iterdir()
    assert killed.exitcode == 9
    copied = take(outputs, [], checkout)
    assert held(copied).keys() == SOURCES.keys() and left.exists()
    assert left.name.startswith(f".{copied.name}.{killed.pid}.")
    os.utime(left, (0, time.time() - 25 * 3600))
    take(outputs, [], checkout)
    assert list((outputs / "code").iterdir()) == [copied]


def test_a_failed_copy_leaves_nothing_and_says_why(checkout, tmp_path, monkeypatch):
    def full(path, copy):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot, "_write", full)
    with pytest.raises(UserError, match="cannot write to .*No space left"):
        take(tmp_path / "outputs", [], checkout)
    assert not list((tmp_path / "outputs").glob("code/.*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        take(tmp_path / "file", [], checkout)


def test_a_damaged_snapshot_is_not_used_and_the_damage_is_named(checkout, tmp_path):
    (checkout / "again").symlink_to("conf")

    def lose(file: Path) -> None:
        file.unlink()

    def alter(file: Path) -> None:
        file.chmod(0o644)
        file.write_bytes(file.read_bytes().replace(b"1", b"2"))  # of the same size

    def empty(file: Path) -> None:
        file.chmod(0o644)
        file.write_text("[]")

    def swap(link: Path) -> None:
        link.unlink()
        link.symlink_to("crate")

    for damage, name, reason in (
        (lose, "conf/config.yaml", "conf/config.yaml is gone"),
        (alter, "launch.py", "launch.py was altered"),
        (lambda file: file.write_text("x = 1"), "crate/extra.py", "crate/extra.py was altered"),
        (swap, "again", "again was altered"),
        (lambda file: file.chmod(0o755), "launch.py", "launch.py was altered"),
        (lose, ".snapshot.json", ".snapshot.json is gone or damaged"),
        (empty, ".snapshot.json", ".snapshot.json is gone or damaged"),
    ):
        copied = take(tmp_path / "outputs", [], checkout)
        require_intact(copied)
        damage(copied / name)
        for use in (
            partial(take, tmp_path / "outputs", [], checkout),
            partial(require_intact, copied),
        ):
            with pytest.raises(UserError, match=f"damaged: {reason}\n") as raised:
                use()
        assert str(copied) in raised.value.fix
        shutil.rmtree(copied)


def test_a_snapshot_of_an_earlier_version_is_verified_too(checkout, tmp_path):
    copied = take(tmp_path / "outputs", [], checkout)
    facts = {key: value for key, value in about(copied).items() if key != "contents"}
    (copied / ".snapshot.json").chmod(0o644)
    (copied / ".snapshot.json").write_text(json.dumps(facts))
    require_intact(copied)
    (copied / "launch.py").chmod(0o644)
    (copied / "launch.py").write_text("print(2)\n")
    with pytest.raises(UserError, match="damaged"):
        require_intact(copied)


def test_odd_names_are_taken_as_they_are(checkout, tmp_path):
    names = [" a b.py ", "q'u\"o.py", "new\nline.py", "gr\u00f6\u00dfe.yaml", "-x.py", "$(a)*.py"]
    names += [os.fsdecode(b"latin\xe9.py"), "a b/c\td.py"]
    for name in names:
        write(checkout, **{name: repr(name)})
    commit(checkout)
    write(checkout, **{" untracked \n.py": "1", "launch.py": b"caf\xe9\n"})
    copied = held(take(tmp_path / "outputs", [], checkout))
    assert copied.keys() == SOURCES.keys() | {*names, " untracked \n.py"}
    assert all(copied[name] == repr(name).encode() for name in names)


def test_a_snapshot_of_a_snapshot_is_that_snapshot(checkout):
    write(checkout, **{"weights.npz": "1", ".ci/run": "make", "crate/a.py": "2"})
    (checkout / "crate" / "conf").symlink_to("../conf")
    commit(checkout)
    copied = take(checkout / "outputs", [], checkout)
    write(copied, **{"crate/__pycache__/a.pyc": "3"})
    assert take(checkout / "outputs", [], copied) == copied


def run_in(folder: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_snapshot_of_this_checkout_runs_and_says_where_it_comes_from(tmp_path):
    described = provenance.describe()
    repository = tmp_path / "around"  # whose revision must not be taken for the code's
    write(repository, a="1")
    commit(repository)
    copied = take(repository / "outputs", [CHECKOUT / "data", CHECKOUT / "outputs"])
    program = (
        "import json, sys, crate.tasks.train; from crate.run import code_record, provenance as p;"
        "code = code_record.record([]);"
        "print(json.dumps([crate.__file__, code, p.describe(), 'torch' in sys.modules]))"
    )
    where, code, description, has_torch = json.loads(run_in(copied, "-c", program))
    assert Path(where).is_relative_to(copied) and not has_torch
    assert "crate/tasks/train.py" in code and code_record.changed_files(code) == []
    assert description["revision"] == described["revision"]
    assert description["dirty_diff"] == described["dirty_diff"]
    assert "embed_dim" in run_in(copied, "launch.py", "--cfg", "job")


def test_an_existing_snapshot_is_reused_quickly(tmp_path):
    take(tmp_path, [])
    durations = []
    for _ in range(5):
        began = time.process_time()  # other work on the machine does not count
        take(tmp_path, [])
        durations.append(time.process_time() - began)
    assert min(durations) < 0.3, durations


def test_a_link_that_is_broken_in_the_copy_counts_as_intact(tmp_path):
    checkout = tmp_path / "checkout"
    write(checkout, **SOURCES, **{".gitignore": ".cache/\n", ".cache/data/a.bin": "1"})
    (checkout / "data").symlink_to(".cache/data")
    commit(checkout)
    copy = take(tmp_path / "outputs", checkout=checkout)
    assert (copy / "data").is_symlink() and not (copy / "data").exists()
    (copy / "crate" / "__pycache__").mkdir()
    (copy / "crate" / "__pycache__" / "a.pyc").touch()
    require_intact(copy)
    (copy / "data").unlink()
    with pytest.raises(UserError, match="data is gone"):
        require_intact(copy)
