"""Where the code of an asset is, as its page in the UI links to it.

With `dagster.source_url`, the address of this folder in a repository's web pages, the link goes there. In
`dagster dev`, which a developer runs on their own machine, it opens the file in an editor. Otherwise there is none: the
paths of a server are not for every visitor of the UI.
"""

import os
from pathlib import Path

import dagster as dg

_ROOT = Path(__file__).resolve().parent.parent


def code_reference(file: str) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Metadata of a definition in a file of this code location; empty if it is not to be linked."""
    source_url = os.environ.get("NEARDUP_DAGSTER_SOURCE_URL", "")
    path = Path(file).resolve()
    if source_url and path.is_relative_to(_ROOT):
        return _metadata(dg.UrlCodeReference(url=f"{source_url.rstrip('/')}/{path.relative_to(_ROOT).as_posix()}"))
    if os.environ.get("DAGSTER_IS_DEV_CLI"):
        return _metadata(dg.LocalFileCodeReference(file_path=str(path), line_number=1))
    return {}


def _metadata(
    found: dg.LocalFileCodeReference | dg.UrlCodeReference,
) -> dict[str, dg.CodeReferencesMetadataValue]:
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[found])}
