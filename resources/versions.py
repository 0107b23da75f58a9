"""What one asset passes to the next: a version, kept as text in the database of the Dagster instance.

Every machine reads it there, whatever run made it. Dagster's default pickles values in a folder that the configuration
of a launch can choose, so anyone who can launch a run and leave a file on this machine could have it unpickled. Here
nothing is pickled and nothing is configurable.
"""

import dagster as dg

from neardup_platform.errors import NotFound

# A separate type, because for a string Dagster lets a launch name the path of a pickle.
VERSION = dg.DagsterType(
    type_check_fn=lambda _, value: isinstance(value, str), name="Version", description="The name of a version on S3."
)


def given(*assets: str) -> dict[str, dg.AssetIn]:
    """Inputs that are the versions of these assets."""
    return {name: dg.AssetIn(name, dagster_type=VERSION) for name in assets}


class Versions(dg.IOManager):
    """Stores strings and nothing else; an output that is None leaves what was there."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write one value.

        Raises:
            TypeError: it is neither a string nor None.
        """
        if obj is None:
            return
        if not isinstance(obj, str):
            raise TypeError(f"{context.step_key} returns {type(obj).__name__}: return a version, and data to S3")
        self._instance.daemon_cursor_storage.set_cursor_values({_key(context): obj})

    def load_input(self, context: dg.InputContext) -> str:
        """Read one value.

        Raises:
            NotFound: the upstream asset was never materialised in this instance.
        """
        key = _key(context)
        found = self._instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
        if not found:
            raise NotFound(f"no version of it is known: materialise {context.asset_key.to_user_string()} first")
        return found


def _key(context: dg.OutputContext | dg.InputContext) -> str:
    names = context.get_asset_identifier() if context.has_asset_key else context.get_identifier()
    return "/".join(("neardup/version", *names))


@dg.io_manager(description="Versions handed from asset to asset, as text in the database of the instance.")
def versions(context: dg.InitResourceContext) -> Versions:
    """In the key-value store of the instance."""
    if context.instance is None:
        raise dg.DagsterInvariantViolationError("versions are kept by a Dagster instance, and there is none")
    return Versions(context.instance)
