"""The weights that are here, and whether the networks a swap needs can be opened."""

from __future__ import annotations

import os
from collections.abc import Iterator

from facefusion_runner.doctor.check import Check, one_line
from facefusion_runner.errors import RunnerError
from facefusion_runner.loading import Loaded
from facefusion_runner.models.catalog import Catalog
from facefusion_runner.models.store import ModelStore, open_models
from facefusion_runner.settings import Settings


def examine(loaded: Loaded[Settings]) -> Iterator[Check]:
    settings = loaded.settings
    yield _root(settings)
    try:
        catalog, store = open_models(settings)
    except RunnerError as error:
        yield Check("catalog", "fail", one_line(error))
        return
    names = sorted(set(settings.model_licenses_accepted))
    yield Check("licences", "ok", f"accepted: {', '.join(names) or 'none'}", details={"accepted": names})
    yield _weights(catalog, store)
    yield _networks(settings, catalog, store)


def _root(settings: Settings) -> Check:
    root = settings.model_root
    details = {"path": str(root), "exists": root.is_dir()}
    if not root.exists():
        return Check("model root", "ok", f"{root} does not exist yet; a pull makes it", details=details)
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        return Check("model root", "fail", f"{root} cannot be read", "choose another MODEL_ROOT", details)
    if not os.access(root, os.W_OK):
        return Check("model root", "ok", f"{root} (read-only: nothing can be pulled)", details=details)
    return Check("model root", "ok", str(root), details=details)


def _weights(catalog: Catalog, store: ModelStore) -> Check:
    """Every file that is here is read and its digest compared."""
    states: dict[str, list[str]] = {}
    for entry in catalog.entries():
        state: str = store.state(entry)
        if state == "present" and entry.file:
            try:
                store.verify(entry)
            except RunnerError:
                state = "damaged"
        states.setdefault(state, []).append(entry.id)
    summary = ", ".join(f"{len(ids)} {state}" for state, ids in states.items())
    damaged = states.get("damaged", [])
    if damaged:
        fetched = [model for model in damaged if not catalog.is_built_in(model)]
        pull = f"facefusion-runner models pull {' '.join(fetched)}"
        hint = pull if fetched else "install facefusion-runner again"
        return Check("models", "warn", f"{summary}; damaged: {', '.join(damaged)}", hint, states)
    return Check("models", "ok", summary or "the catalog is empty", details=states)


def _networks(settings: Settings, catalog: Catalog, store: ModelStore) -> Check:
    """Opens what a swap with these settings opens."""
    notes: list[str] = []
    try:
        # Imported here: without OpenCV the rest of the report is still of use.
        from facefusion_runner.models.session import SessionFactory
        from facefusion_runner.pipeline.networks import NetworkLoader

        factory = SessionFactory(settings.device, settings.threads, warn=notes.append)
        networks = NetworkLoader(settings, catalog, store, factory).open()
    except ImportError as error:
        return Check("networks", "fail", f"a library cannot be loaded: {one_line(error)}")
    except RunnerError as error:
        return Check("networks", "fail", one_line(error))
    details = {session.entry.id: list(session.providers) for session in networks.sessions}
    used = [f"{model} on {providers[0]}" for model, providers in details.items()]
    return Check("networks", "ok", "; ".join([", ".join(used), *notes]), details=details)
