"""The environment that the templates of reports are rendered in."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def report_environment(package: str) -> Environment:
    """Returns the environment of the templates of a package; everything is escaped, and a missing value is an error."""
    # Always escape, whatever the suffix of the template's name.
    environment = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment
