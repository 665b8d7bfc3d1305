"""A published set is downloaded once, whole, by one of several processes, or not at all."""

from __future__ import annotations

import functools
import http.server
import logging
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from torchvision import datasets

from crate.data import downloaded
from crate.data.fashion_mnist import FashionMNIST
from crate.data.published import PUBLISHED
from crate.data.published.download import ensure
from crate.errors import UserError
from crate.tasks.identity import prepare
from tests import made
from tests.data.test_published import KINDS, fashion


@pytest.mark.parametrize("name", [*KINDS, "fashion_mnist"])
def test_a_download_that_is_forbidden_is_an_error_at_once(composed, tmp_path, name):
    typed = (f"data={name}", f"data.root={tmp_path}", "data.download=false")
    with pytest.raises(UserError) as caught:
        prepare(composed(*typed))
    for words in (f"no {name} in {tmp_path}: ", "missing", "data.download=true, or data.root="):
        assert words in str(caught.value)
    kind = KINDS.get(name, FashionMNIST)
    with pytest.raises(UserError, match="data.download=false"):
        kind("train", str(tmp_path), download=False)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def server(tmp_path):
    """Serve tmp_path/web; yield its address and the requested paths."""
    asked, web = [], tmp_path / "web"
    web.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if (web / "slow").exists():
                time.sleep(0.5)
            super().do_GET()

        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=str(web))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", web, asked
        running.shutdown()


@pytest.fixture
def online(server, roots, monkeypatch):
    """Make torchvision download the made sets from the server in place of the published ones."""
    address, web, asked = server
    base = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
    for name, kind in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        made.archive(web / kind.filename, roots[name] / base[name])
        monkeypatch.setattr(kind, "url", address + kind.filename)
        monkeypatch.setattr(kind, "tgz_md5", made.md5(web / kind.filename))
    flowers = roots["flowers"] / "flowers-102"
    made.archive(web / "102flowers.tgz", flowers / "jpg")
    for file in ("imagelabels.mat", "setid.mat"):
        shutil.copy(flowers / file, web)
    files = datasets.Flowers102._file_dict | {
        "image": ("102flowers.tgz", made.md5(web / "102flowers.tgz"))
    }
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    monkeypatch.setattr(datasets.Flowers102, "_download_url_prefix", address)
    resources = []
    for part in ("images", "annotations"):
        made.archive(web / f"{part}.tar.gz", roots["pets"] / "oxford-iiit-pet" / part)
        resources.append((f"{address}{part}.tar.gz", made.md5(web / f"{part}.tar.gz")))
    monkeypatch.setattr(datasets.OxfordIIITPet, "_RESOURCES", tuple(resources))
    fashion(web)
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [address])
    names = [f"{each}.gz" for each in PUBLISHED["fashion_mnist"].files]
    resources = [(each, made.md5(web / each)) for each in names]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    return web, asked


@pytest.mark.parametrize("name", [*KINDS, "fashion_mnist"])
def test_a_missing_set_is_downloaded_whole(online, name, tmp_path, capfd):
    kind, root = KINDS.get(name, FashionMNIST), tmp_path / "deep" / name
    images = kind("val", str(root))
    assert len(images) > 0 and not PUBLISHED[name].missing(root)
    assert "B/s" in capfd.readouterr().err  # torchvision's bar
    assert not (root / ".download" / "files").exists()
    assert not [*root.rglob("*.tgz"), *root.rglob("*.tar.gz")]
    asked = len(online[1])
    kind("train", str(root))
    assert len(online[1]) == asked


def test_a_failed_download_is_an_error_and_the_next_try_starts_again(online, tmp_path, monkeypatch):
    web, _ = online
    root, file = tmp_path / "cifar10", web / "cifar-10-python.tar.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-50])
    with pytest.raises(UserError, match="cifar10 could not be downloaded.*\n.*brought by hand"):
        downloaded.CIFAR10("val", str(root))
    file.unlink()
    with pytest.raises(UserError, match="could not be downloaded: File not found"):
        downloaded.CIFAR10("val", str(root))
    assert PUBLISHED["cifar10"].missing(root)
    (web / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(UserError, match="fashion_mnist could not be downloaded: .*404.*"):
        FashionMNIST("val", str(tmp_path / "fashion"))
    file.write_bytes(whole)
    assert len(downloaded.CIFAR10("val", str(root))) == made.NUM


def _download(root, messages):
    logger = logging.getLogger("crate")
    logger.setLevel(logging.INFO)
    logger.addHandler(type("Put", (logging.Handler,), {"emit": lambda _, r: messages.put(r.msg)})())
    downloaded.Pets("val", root)
    messages.put("done")


def test_one_of_several_processes_downloads_and_the_others_log_that_they_wait(online, tmp_path):
    web, asked = online
    (web / "slow").touch()
    context = multiprocessing.get_context("fork")
    messages, root = context.Queue(), str(tmp_path / "pets")
    processes = [context.Process(target=_download, args=(root, messages)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(path for path in asked if "images" in path).count("/images.tar.gz") <= 2  # + HEAD
    lines = [messages.get(timeout=5) for _ in range(messages.qsize())]
    assert lines.count("done") == 3
    assert sum(line.startswith("downloading") for line in lines) == 1
    assert sum(line.startswith("waiting for") for line in lines) == 2


def _die_while_downloading(root):
    def pets(folder, download):
        annotations = Path(folder) / "oxford-iiit-pet" / "annotations"
        annotations.mkdir(parents=True)
        (annotations / "trainval.txt").write_text("torn")
        os._exit(9)

    datasets.OxfordIIITPet = pets  # in this process, which ends here
    ensure(PUBLISHED["pets"], root, True)


def test_a_download_that_was_killed_is_taken_over(online, tmp_path):
    root = tmp_path / "pets"
    process = multiprocessing.get_context("fork").Process(
        target=_die_while_downloading, args=(root,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9 and PUBLISHED["pets"].missing(root)
    images = downloaded.Pets("train", str(root))
    assert len(images) == made.NUM and images[0][0].mode == "RGB"
