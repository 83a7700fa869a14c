"""The leaderboard page as an app of MLflow's server: ``mlflow server --app-name srnas``, or ``srnas-auth``.

The routes are Flask's, behind MLflow's own checks of Host and Origin, and behind its authentication where that is on.
What the page shows of a single trial it asks of MLflow itself.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request
from mlflow import MlflowClient

from srnas.leaderboard.show.page import STATIC_TYPES, static_file, study_data, trials_data
from srnas.leaderboard.store import mlflow_private
from srnas.leaderboard.store.reading import Results, StudyRun

# Says to the page which workspace its commands are to name.
WORKSPACE_VARIABLE = "SRNAS_UI_WORKSPACE"
_MOUNT = "/leaderboard"
_API = ("/api/studies", "/api/trials")
# Plotly sets styles on elements; nothing else may come from anywhere but here.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def create_app() -> Any:
    """Return MLflow's app with the page."""
    app = mlflow_private.mlflow_app()
    app.register_blueprint(page_routes(lambda _: True))
    return mlflow_private.with_fastapi(app) if mlflow_private.is_served_by_uvicorn() else app


def create_auth_app() -> Any:
    """Return MLflow's app with the page, both behind MLflow's basic authentication.

    A user sees the studies of the experiments that MLflow lets them read.
    """
    app = mlflow_private.mlflow_app()
    app.register_blueprint(page_routes(mlflow_private.user_may_read))
    # These routes check by themselves what may be read.
    for path in ("", "/", *_API, *(f"/{name}" for name in STATIC_TYPES)):
        mlflow_private.permit_route(mlflow_private.mounted(_MOUNT) + path, "GET", lambda: True)
    return mlflow_private.with_authentication(app)


def page_routes(readable: Callable[[str], bool]) -> Blueprint:
    """Return the routes of the page.

    Args:
        readable: Whether who asks may read an experiment, by its id.
    """
    routes = Blueprint("srnas_leaderboard", __name__, url_prefix=mlflow_private.mounted(_MOUNT))

    def results() -> Results:
        return Results(MlflowClient(tracking_uri=mlflow_private.tracking_uri()))

    def visible(found: Results) -> list[StudyRun]:
        return [study for study in found.stored_studies() if readable(study.experiment_id)]

    @routes.get("/")
    def page() -> Response:
        return _static("index.html")

    @routes.get("/<name>")
    def static(name: str) -> Response:
        return _static(name)

    @routes.get("/api/studies")
    def studies() -> Response:
        found = results()
        summaries = found.summaries()
        known = []
        for stored in visible(found):
            study = stored.record
            known.append(study_data(study, *summaries.get((study.task, study.name), ("", 0)), stored))
        return _json({"studies": known, "workspace": os.environ.get(WORKSPACE_VARIABLE, "")})

    @routes.get("/api/trials")
    def trials() -> Response:
        found, names = results(), request.args.getlist("study")
        chosen = [study.record for study in visible(found) if f"{study.record.task}/{study.record.name}" in names]
        return _json(trials_data(found.rows_of(chosen), chosen))

    @routes.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return routes


def _json(data: Mapping[str, Any]) -> Response:
    return Response(json.dumps(data, allow_nan=False), mimetype="application/json")


def _static(name: str) -> Response:
    if name not in STATIC_TYPES:
        return Response("not found", 404, mimetype="text/plain")
    response = Response(static_file(name), mimetype=STATIC_TYPES[name])
    response.add_etag()
    # Asked for again each time, by its ETag, so that an update of the package shows at once.
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response
