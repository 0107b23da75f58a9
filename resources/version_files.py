"""What one asset passes to the next: a version, kept as a text file in Dagster's own storage folder.

Dagster's default pickles values in a folder that the configuration of a launch can choose, so anyone who can launch a
run and leave a file on this machine could have it unpickled. Here nothing is pickled and nothing is configurable.
"""

from pathlib import Path

import dagster as dg

from neardup_platform.files import replace_file

# A separate type, because for a string Dagster lets a launch name the path of a pickle.
VERSION = dg.DagsterType(
    type_check_fn=lambda _, value: isinstance(value, str), name="Version", description="The name of a version on S3."
)


def given(*assets: str) -> dict[str, dg.AssetIn]:
    """Inputs that are the versions of these assets."""
    return {name: dg.AssetIn(name, dagster_type=VERSION) for name in assets}


class VersionFiles(dg.IOManager):
    """Stores strings and nothing else; an output that is None leaves no file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write one value.

        Raises:
            TypeError: it is neither a string nor None.
        """
        if obj is None:
            return
        if not isinstance(obj, str):
            raise TypeError(f"{context.step_key} returns {type(obj).__name__}: return a version, and data to S3")
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, obj, durable=False)

    def load_input(self, context: dg.InputContext) -> str:
        """Read one value.

        Raises:
            FileNotFoundError: the upstream asset was not materialised here.
        """
        path = self._path(context)
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: materialise {context.asset_key.to_user_string()} first")
        return path.read_text(encoding="utf-8")

    def _path(self, context: dg.OutputContext | dg.InputContext) -> Path:
        names = context.get_asset_identifier() if context.has_asset_key else context.get_identifier()
        return self._folder.joinpath("versions", *names).with_suffix(".txt")


@dg.io_manager(description="Versions handed from asset to asset, as text files.")
def version_files(context: dg.InitResourceContext) -> VersionFiles:
    """In the storage folder of the instance."""
    if context.instance is None:
        raise dg.DagsterInvariantViolationError("versions are kept by a Dagster instance, and there is none")
    return VersionFiles(Path(context.instance.storage_directory()))
