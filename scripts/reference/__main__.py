"""Write every page: `python -m scripts.reference`."""

from scripts.reference.pages import DOCS, pages

for name, text in pages().items():
    path = DOCS / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
