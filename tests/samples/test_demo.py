"""The feed that the demo gives to `neardup ingest`."""

from pathlib import Path

from samples.demo import COPIES_PER_PICTURE, PICTURES, prepare_feed


def test_the_feed_holds_originals_and_copies_only(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "demo"
    folder.mkdir(parents=True)
    (folder / "of-an-older-version.jpg").write_bytes(b"")
    feed = prepare_feed(PICTURES, folder, seed=2)
    assert sorted(path.name for path in folder.iterdir()) == sorted(feed.image_ids)
    assert len(feed.copies) == COPIES_PER_PICTURE * len(feed.originals)
