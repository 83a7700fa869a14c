"""The leaderboard page as an app of MLflow's server: ``mlflow server --app-name srnas``, or ``srnas-auth``.

The routes are Flask's, behind MLflow's own checks of Host and Origin, and behind its authentication where that is on.
What the page shows of a single trial it asks of MLflow itself.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Flask, Response, g, request
from mlflow import MlflowClient
from mlflow.environment_variables import _MLFLOW_SGI_NAME
from mlflow.server import app as mlflow_app
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.handlers import _add_static_prefix

from srnas.leaderboard.page import STATIC_TYPES, static_file, study_data, trials_data
from srnas.leaderboard.reading import Results, StoredStudy

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
    mlflow_app.register_blueprint(page_routes(lambda _: True))
    return _served(mlflow_app)


def create_auth_app() -> Any:
    """Return MLflow's app with the page, both behind MLflow's basic authentication.

    A user sees the studies of the experiments that MLflow lets them read.
    """
    from mlflow.server import auth

    def readable(experiment_id: str) -> bool:
        return (
            auth.sender_is_admin()
            or auth._get_experiment_permission(experiment_id, g.mlflow_authenticated_user).can_read
        )

    mlflow_app.register_blueprint(page_routes(readable))
    # MLflow refuses users any route that it does not know; these check by themselves what may be read.
    for path in ("", "/", *_API, *(f"/{name}" for name in STATIC_TYPES)):
        auth.BEFORE_REQUEST_VALIDATORS[_add_static_prefix(_MOUNT) + path, "GET"] = lambda: True
    return auth.create_app(mlflow_app)


def _served(app: Flask) -> Any:
    if _MLFLOW_SGI_NAME.get() != "uvicorn":
        return app
    from mlflow.server.fastapi_app import create_fastapi_app

    return create_fastapi_app(app)


def page_routes(readable: Callable[[str], bool]) -> Blueprint:
    """Return the routes of the page.

    Args:
        readable: Whether who asks may read an experiment, by its id.
    """
    routes = Blueprint("srnas_leaderboard", __name__, url_prefix=_add_static_prefix(_MOUNT))

    def results() -> Results:
        return Results(MlflowClient(tracking_uri=os.environ[BACKEND_STORE_URI_ENV_VAR]))

    def visible(found: Results) -> list[StoredStudy]:
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
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response
