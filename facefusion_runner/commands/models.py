"""`models`: what the catalog knows, and the weights that are here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facefusion_runner.commands.libraries import imported
from facefusion_runner.commands.options import Invocation, SettingsCommand, epilog, load, setting_options
from facefusion_runner.commands.tables import print_table
from facefusion_runner.errors import ConfigError, ModelError
from facefusion_runner.progress import Meter, Reporter, make_reporter
from facefusion_runner.settings import Messages, Models, Settings

if TYPE_CHECKING:
    from facefusion_runner.models.catalog import Catalog, ModelEntry
    from facefusion_runner.models.store import ModelStore

EXAMPLES = (
    "facefusion-runner models list",
    "facefusion-runner models pull ID --accept LICENCE",
    "facefusion-runner models import ID weights.onnx",
    "facefusion-runner models import weights.onnx --family dfm --licence mit --add",
)


@click.group(epilog=epilog(*EXAMPLES))
def models() -> None:
    """List, fetch and check the weights of the networks."""


@models.command(
    "list",
    cls=SettingsCommand,
    epilog=epilog("facefusion-runner models list", "facefusion-runner models list --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_options(Models, Messages)
@click.pass_context
def list_(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Show all models and which are here."""
    ctx.ensure_object(Invocation).json |= as_json
    catalog, store = _open(load(ctx, given).settings)
    rows = [describe(entry, catalog, store) for entry in catalog.entries()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print(rows)


@models.command(
    cls=SettingsCommand,
    epilog=epilog(
        "facefusion-runner models pull ID",
        "facefusion-runner models pull ID OTHER_ID --accept LICENCE",
        "MODEL_LICENSES_ACCEPTED=LICENCE facefusion-runner models pull ID",
    ),
)
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@click.option(
    "--accept", multiple=True, metavar="LICENCE", help="Licence you accept, for this pull; may be repeated."
)
@setting_options(Models, Messages)
@click.pass_context
def pull(ctx: click.Context, /, ids: tuple[str, ...], accept: tuple[str, ...], **given: Any) -> None:
    """Download weights.

    A download that was cut goes on where it ended."""
    settings = load(ctx, given).settings
    catalog, store = _open(settings, accept)
    entries = [catalog.get(model_id) for model_id in ids]
    for entry in entries:
        with make_reporter(settings.progress, "bytes") as reporter:
            path = store.pull(entry, _Arrivals(reporter, entry.id))
            reporter.done(f"{entry.id}: {path}", {"id": entry.id, "path": str(path)})


@models.command(
    cls=SettingsCommand,
    epilog=epilog("facefusion-runner models verify", "facefusion-runner models verify ID"),
)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@setting_options(Models, Messages)
@click.pass_context
def verify(ctx: click.Context, /, ids: tuple[str, ...], **given: Any) -> None:
    """Check weights against the catalog.

    Compares size and SHA-256; without an ID, of all models that are here."""
    catalog, store = _open(load(ctx, given).settings)
    entries = [catalog.get(model_id) for model_id in ids] or [
        entry for entry in catalog.entries() if entry.file and store.location(entry).is_file()
    ]
    faults = 0
    for entry in entries:
        try:
            click.echo(f"{entry.id}: ok ({store.verify(entry)})")
        except ModelError as error:
            faults += 1
            click.echo(f"{entry.id}: {error}")
    if faults:
        raise ModelError(f"{faults} of {len(entries)} models cannot be used")


@models.command(
    "import",
    cls=SettingsCommand,
    epilog=epilog(
        "facefusion-runner models import ID weights.onnx",
        "facefusion-runner models import weights.onnx --family dfm",
        "facefusion-runner models import net.onnx --family e5 --parameter space=mine --licence mit --add",
    ),
)
@click.argument("arguments", nargs=-1, required=True, metavar="[ID] FILE")
@click.option("--family", metavar="FAMILY", help="What kind of network a file is that no catalog knows.")
@click.option("--role", metavar="ROLE", help="Needed where several roles have the family.")
@click.option("--id", "new_id", metavar="ID", help="Name of the new model. Default: the file's.")
@click.option("--licence", metavar="LICENCE", help="Id of the file's licence.")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="What the graph does not tell; may be repeated.",
)
@click.option("--add", is_flag=True, help="Copy the file and add the entry to your catalog.")
@setting_options(Models, Messages)
@click.pass_context
def import_(ctx: click.Context, /, arguments: tuple[str, ...], family: str | None, **given: Any) -> None:
    """Take a file of yours as weights.

    With an ID it is copied into MODEL_ROOT if it is the file that the catalog describes. With --family its
    graph is checked against what the family needs, and the catalog entry for it is printed."""
    settings = load(ctx, given).settings
    if len(arguments) != (2 if family is None else 1):
        raise ConfigError("models import takes ID FILE, or FILE --family FAMILY; see models import --help")
    if family is None:
        catalog, store = _open(settings)
        click.echo(store.import_file(catalog.get(arguments[0]), Path(arguments[1])))
    else:
        _propose(settings, Path(arguments[0]), family, given)


def _propose(settings: Settings, file: Path, family: str, given: dict[str, Any]) -> None:
    """Prints the entry of a file that no catalog knows, and adds it where that is asked for."""
    proposal = imported("facefusion_runner.models.proposal")
    session = imported("facefusion_runner.models.session")
    catalog, store = _open(settings)
    entry = proposal.propose(
        file,
        family,
        role=given["role"],
        model_id=given["new_id"],
        licence=given["licence"] or proposal.UNNAMED,
        given=dict(map(proposal.parameter, given["parameters"])),
        catalog=catalog,
        store=store,
        factory=session.SessionFactory("cpu"),
    )
    if given["add"]:
        path = proposal.add(
            entry, settings.model_root, lambda catalog: type(store)(settings.model_root, catalog)
        )
        click.echo(f"{entry.id}: {path}")
    else:
        click.echo(proposal.toml(entry, tuple(catalog.licences)), nl=False)


@models.command(
    cls=SettingsCommand, epilog=epilog("facefusion-runner models path", "facefusion-runner models path ID")
)
@click.argument("model_id", metavar="[ID]", required=False)
@setting_options(Models, Messages)
@click.pass_context
def path(ctx: click.Context, /, model_id: str | None, **given: Any) -> None:
    """Print where weights are, or MODEL_ROOT."""
    settings = load(ctx, given).settings
    if model_id is None:
        click.echo(settings.model_root)
        return
    catalog, store = _open(settings)
    click.echo(store.path(catalog.get(model_id)))


class _Arrivals:
    """Turns the store's count of bytes into progress."""

    def __init__(self, reporter: Reporter, stage: str) -> None:
        self._reporter = reporter
        self._stage = stage
        self._meter: Meter | None = None

    def __call__(self, done: int, total: int | None) -> None:
        # The first count is what an earlier pull left; a smaller one means a new start.
        if self._meter is None or done < self._meter.frames:
            self._meter = Meter(self._reporter, self._stage, total, start=done)
        else:
            self._meter.advance(done - self._meter.frames)


def describe(entry: ModelEntry, catalog: Catalog, store: ModelStore) -> dict[str, Any]:
    """One model as data."""
    licence = catalog.licences[entry.licence]
    return {
        "id": entry.id,
        "role": entry.role,
        "family": entry.family,
        "licence": licence.id,
        "licence_url": licence.url,
        "commercial": licence.commercial,
        "bytes": entry.bytes,
        "built_in": catalog.is_built_in(entry.id),
        "state": store.state(entry),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    headers = ("id", "role", "family", "licence", "commercial use", "size", "state")
    print_table(
        headers,
        (
            (
                row["id"],
                row["role"],
                row["family"],
                row["licence"],
                "yes" if row["commercial"] else "no",
                "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB",
                "built in" if row["built_in"] and row["state"] == "present" else row["state"],
            )
            for row in rows
        ),
    )


def _open(settings: Settings, accept: tuple[str, ...] = ()) -> tuple[Catalog, ModelStore]:
    from facefusion_runner.models.store import open_models

    return open_models(settings, accept)
