"""Trees of image folders are read in either layout, and errors in one are named."""

from __future__ import annotations

import json
import shutil

import pytest
from torchvision.datasets import ImageFolder

from crate.data import facts
from crate.data.folder import Folder
from crate.data.images import layout
from crate.data.splits import load_splits
from crate.errors import UserError
from crate.tasks.identity import prepare, signature_of


@pytest.fixture(scope="module")
def kaggle(roots, tmp_path_factory):
    """Return the ImageNet-100 of `roots` in Kaggle's layout: 25 classes per part, Labels.json."""
    root, merged = tmp_path_factory.mktemp("kaggle"), roots["imagenet100"]
    names = sorted(path.name for path in (merged / "train").iterdir())
    for number, name in enumerate(names):
        shutil.copytree(merged / "train" / name, root / f"train.X{1 + number // 25}" / name)
        shutil.copytree(merged / "val" / name, root / "val.X" / name)
    words = {name: f"word {name}" for name in names}
    (root / "Labels.json").write_text(json.dumps(words))
    return root


def test_the_merged_layout_is_read_as_torchvision_reads_it(roots):
    for split in ("train", "val"):
        ours = Folder(split, str(roots["imagefolder"]))
        theirs = ImageFolder(roots["imagefolder"] / split)
        assert list(zip(ours.paths, ours.labels, strict=True)) == theirs.samples
        assert ours.classes == theirs.classes and len(ours) == len(theirs)
        assert ours[1][0].tobytes() == theirs[1][0].tobytes()


def test_kaggles_download_is_the_same_set_without_merging(composed, roots, kaggle):
    config = prepare(composed("data=imagenet100", f"data.root={kaggle}"))
    merged = prepare(composed("data=imagenet100", f"data.root={roots['imagenet100']}"))
    assert signature_of(config) == signature_of(merged)
    assert facts.num_images(config.data) == {"train": 100, "val": 100}
    ours, theirs = load_splits(config.data), load_splits(merged.data)
    for split in ("train", "val"):
        assert ours[split].labels == theirs[split].labels
        names = [[path.split("/")[-2:] for path in each[split].paths] for each in (ours, theirs)]
        assert names[0] == names[1]
        assert ours[split][77][0].tobytes() == theirs[split][77][0].tobytes()
    assert ours["train"].classes[7] == f"word {theirs['train'].classes[7]}"


def test_a_users_folder_may_have_kaggles_layout_and_all_parts_identify_it(
    composed, kaggle, tmp_path
):
    shutil.copytree(kaggle, tmp_path / "own")
    config = prepare(composed("data=imagefolder", f"data.root={tmp_path / 'own'}"))
    assert config.data.num_classes == 100
    before = facts.identity(config.data)
    assert before["train"][0] == before["val"][0] == 100
    facts._walk.cache_clear()
    extra = tmp_path / "own" / "train.X3"
    (next(extra.iterdir()) / "another.jpg").write_bytes(b"1234")
    after = facts.identity(config.data)
    assert after["train"] == [101, before["train"][1] + 4] and after["val"] == before["val"]


def test_missing_data_is_an_error_with_the_download_command(composed, tmp_path):
    with pytest.raises(UserError) as caught:
        prepare(composed("data=imagenet100", f"data.root={tmp_path}"))
    expected = f"kaggle datasets download ambityga/imagenet100 --unzip -p {tmp_path}"
    assert expected in str(caught.value) and f"{tmp_path / 'train'} is missing" in str(caught.value)


def trimmed(kaggle, tmp_path, *gone):
    for part in kaggle.iterdir():
        if part.name not in gone:
            (tmp_path / part.name).symlink_to(part)
    return f"data.root={tmp_path}"


def test_a_missing_val_is_an_error(composed, kaggle, tmp_path):
    root = trimmed(kaggle, tmp_path, "val.X")
    with pytest.raises(UserError, match=f"{tmp_path / 'val'} is missing\n.*kaggle datasets"):
        prepare(composed("data=imagenet100", root))
    with pytest.raises(UserError, match=f"{tmp_path / 'val'} is missing\n.*train/<class>/"):
        prepare(composed("data=imagefolder", root))


def test_a_missing_part_of_the_download_is_an_error(composed, kaggle, tmp_path):
    root = trimmed(kaggle, tmp_path, "train.X2")
    with pytest.raises(UserError, match="classes differ between train/ and val/"):
        prepare(composed("data=imagenet100", root))


def test_half_merged_trees_are_read_split_by_split(kaggle, roots, tmp_path):
    (tmp_path / "train").symlink_to(roots["imagenet100"] / "train")
    (tmp_path / "val.X").symlink_to(kaggle / "val.X")
    assert len(layout.class_names(tmp_path)) == 100
    assert len(Folder("train", str(tmp_path))) == len(Folder("val", str(tmp_path))) == 100


@pytest.mark.parametrize("content", ["{torn", "[1, 2]", '{"n00000001": 3}'])
def test_labels_that_cannot_be_read_are_an_error(composed, kaggle, tmp_path, content):
    root = trimmed(kaggle, tmp_path, "Labels.json")
    (tmp_path / "Labels.json").write_text(content)
    with pytest.raises(UserError, match="Labels.json cannot be read"):
        prepare(composed("data=imagenet100", root))


def test_a_class_without_a_label_keeps_its_folders_name(kaggle, tmp_path):
    trimmed(kaggle, tmp_path, "Labels.json")
    (tmp_path / "Labels.json").write_text('{"n00000001": "one"}')
    assert Folder("val", str(tmp_path)).classes[:3] == ["n00000000", "one", "n00000002"]


@pytest.fixture
def own(roots, tmp_path):
    shutil.copytree(roots["imagefolder"], tmp_path / "own")
    return tmp_path / "own"


def test_an_empty_class_folder_is_named(composed, own):
    for split in ("train", "val"):
        (own / split / "empty").mkdir()
    config = prepare(composed("data=imagefolder", f"data.root={own}"))
    with pytest.raises(
        UserError, match=f"1 class folder.s. of {own / 'train'} hold no image: empty"
    ):
        load_splits(config.data)


def test_a_tree_without_any_image_is_an_error(composed, tmp_path):
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
    config = prepare(composed("data=imagefolder", f"data.root={tmp_path}"))
    with pytest.raises(UserError, match="the train split of the data holds no image"):
        load_splits(config.data)
    shutil.rmtree(tmp_path / "val" / "a")
    with pytest.raises(UserError, match="val has no class folders"):
        prepare(composed("data=imagefolder", f"data.root={tmp_path}"))


def test_files_that_are_no_images_are_counted_and_hidden_ones_passed_over(composed, own):
    label = next((own / "train").iterdir())
    before = len(Folder("train", str(own)))
    (label / "notes.txt").write_text("no image")
    (label / "archive.zip").write_bytes(b"PK")
    (label / "._photograph.JPEG").write_bytes(b"of macOS")
    (label / ".cache").mkdir()
    (label / ".cache" / "thumbnail.jpg").write_bytes(b"")
    (own / "train" / "README").write_text("beside the classes")
    (own / "train" / ".ipynb_checkpoints").mkdir()
    folder = Folder("train", str(own))
    assert len(folder) == before and len(folder.classes) == 3
    assert folder.notes == [f"{own / 'train'}: 2 file(s) that are no images left out"]
    facts.count_images.cache_clear()
    config = prepare(composed("data=imagefolder", f"data.root={own}"))
    assert facts.num_images(config.data)["train"] == before
