"""Images are checked once: other processes and later starts use the result."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from crate.data.folder import Folder
from crate.data.images import unreadable
from crate.errors import UserError

BAD = 2  # of the six images, in the order of their names


@pytest.fixture
def tree(tmp_path):
    """Return a folder with one class of six photographs, one of them truncated."""
    folder = tmp_path / "tree" / "train" / "flower"
    folder.mkdir(parents=True)
    photograph = Image.fromarray(load_sample_images().images[1])
    for number in range(6):
        photograph.crop((number, 0, 60 + number, 40)).save(folder / f"{number}.jpg")
    tear(folder / f"{BAD}.jpg")
    return tmp_path / "tree"


def tear(path):
    path.write_bytes(path.read_bytes()[:300].ljust(path.stat().st_size, b"\0"))


@pytest.fixture
def decoded(monkeypatch):
    """Return the names of the files decoded by this process and by those that it forks."""
    names, read = multiprocessing.get_context("fork").Manager().list(), unreadable.read_pixels
    monkeypatch.setattr(
        unreadable, "read_pixels", lambda path: (names.append(os.path.basename(path)), read(path))
    )
    return names


def checked(tree, caches):
    images = Folder("train", str(tree), on_corrupt="skip")
    images.check(caches)
    return images


def test_a_later_start_reuses_the_result_of_the_check(tree, tmp_path, decoded):
    first = checked(tree, tmp_path / "cache")
    assert len(decoded) == 6 and len(first) == 5
    again = checked(tree, tmp_path / "cache")
    assert len(decoded) == 6
    assert again.paths == first.paths and again.labels == first.labels
    assert not any(path.endswith(f"{BAD}.jpg") for path in again.paths)
    (note,), (known,) = first.notes, again.notes
    assert "6 images checked, 1 unreadable left out: " in note
    assert known == note.replace("checked", "checked before")
    assert len(checked(tree, None)) == 5 and len(decoded) == 12  # kept nowhere


def test_a_changed_file_is_checked_again(tree, tmp_path, decoded):
    checked(tree, tmp_path)
    folder = tree / "train" / "flower"
    tear(folder / "4.jpg")  # its size stays
    assert len(checked(tree, tmp_path)) == 4
    (folder / f"{BAD}.jpg").write_bytes((folder / "0.jpg").read_bytes())
    assert len(checked(tree, tmp_path)) == 5
    (folder / "6.jpg").symlink_to("nowhere")
    assert len(checked(tree, tmp_path)) == 5
    assert len(decoded) == 6 + 6 + 6 + 7


def check_together(tree, caches, barrier, answers):
    barrier.wait()
    answers.put(len(checked(tree, caches)))


def test_of_processes_that_start_at_once_one_decodes(tree, tmp_path, decoded, monkeypatch):
    quick = unreadable.read_pixels
    monkeypatch.setattr(unreadable, "read_pixels", lambda path: (time.sleep(0.2), quick(path)))
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(4), context.Queue()
    arguments = (tree, tmp_path / "cache", barrier, answers)
    processes = [context.Process(target=check_together, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=60) for _ in processes] == [5] * 4
    for process in processes:
        process.join()
    assert sorted(decoded) == [f"{number}.jpg" for number in range(6)]


def test_an_image_with_a_disk_error_is_left_out_and_tried_again(
    tree, tmp_path, decoded, monkeypatch
):
    read = unreadable.read_pixels

    def refused(path):
        if path.endswith("0.jpg"):
            raise UserError("cannot be read") from OSError(errno.EIO, "Input/output error")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(unreadable, "read_pixels", refused)
        assert len(checked(tree, tmp_path)) == 4
    assert len(checked(tree, tmp_path)) == 5
    assert len(decoded) == 5 + 6 and len(checked(tree, tmp_path)) == 5 and len(decoded) == 11


def test_a_torn_list_is_rebuilt(tree, tmp_path, decoded):
    checked(tree, tmp_path)
    (file,) = tmp_path.glob("checked-*/unreadable.json")
    whole = file.read_text()
    for number, text in enumerate(
        (whole[:10], '{"num_images": 6}', '{"num_images": 6, "unreadable": ["x"]}'), 2
    ):
        file.write_text(text)
        assert len(checked(tree, tmp_path)) == 5 and len(decoded) == 6 * number
        assert len(checked(tree, tmp_path)) == 5 and len(decoded) == 6 * number
        assert file.read_text() == whole


def test_a_folder_that_cannot_be_written_is_an_error_with_what_to_type(tree, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"(?s)cannot write to .*CRATE_CACHE=FOLDER"):
        checked(tree, tmp_path / "file")
