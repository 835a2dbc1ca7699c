"""The studio over HTTP: its page, a small JSON API beside it, and Gradio's queue for a generator.

Why the editor is a page of its own and no component inside Gradio's: a drag must not leave the
browser, every point must be a stop of the keyboard, and a policy that lets nothing but our own
files run must hold (Gradio's page needs inline scripts). Gradio's own page was tried with the
editor in gr.HTML: it works, with 47 requests before anything shows. Gradio brings the server
(FastAPI, Uvicorn), and its queue stands in front of a generator; without one it is never imported,
which saves three of the five seconds that the start would take.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection
from importlib import resources
from typing import Any
from urllib.parse import unquote

from tetrapose.app import generating
from tetrapose.app.guard import LOOPBACK, Guard, host_name
from tetrapose.app.studio import Studio
from tetrapose.errors import UserError

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
LEAST_BODY = 4_000_000  # bytes that a request may have whatever the limit of pictures is
log = logging.getLogger("tetrapose.app")


def build(studio: Studio, *, hosts: Collection[str] = LOOPBACK, addresses: bool = False) -> Guard:
    """The whole application (ASGI) behind its guard; see ``Guard`` for who may ask.

    UserError where the packages of the extra "app" are missing.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before anything imports it
    try:
        from fastapi import FastAPI  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("the studio wants Gradio: pip install 'tetrapose[app]'") from None
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for method, path, handler in _routes(studio):
        app.add_route(path, handler, methods=[method])
    if studio.generator is not None:
        os.environ["GRADIO_TEMP_DIR"] = str(studio.folder / "gradio")
        app = generating.mount(app, studio.generator, studio.generated)
    return Guard(
        app,
        hosts=hosts,
        addresses=addresses,
        most_bytes=max(studio.limits.bytes, LEAST_BODY),
        seconds=studio.limits.seconds,
        closed=(generating.MOUNTED,),
        open=(generating.CALLED,),
    )


def serve(
    studio: Studio,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    allowed: Collection[str] = (),
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until interrupted; ``started`` is told the page's address.

    ``allowed`` are further host names that the page is reached by. UserError where the port is
    taken.
    """
    beyond = not is_loopback(host)
    app = build(studio, hosts={*LOOPBACK, host_name(host) or host, *allowed}, addresses=beyond)
    import uvicorn  # pyright: ignore[reportMissingImports]

    config = uvicorn.Config(
        app, log_level="warning", server_header=False, timeout_keep_alive=5, limit_concurrency=64,
        lifespan="on" if studio.generator else "off",
    )  # fmt: skip
    socket = _bound(host, port)
    name = f"[{host}]" if ":" in host else host
    started(f"http://{name}:{socket.getsockname()[1]}")
    try:
        uvicorn.Server(config).run(sockets=[socket])
    finally:
        studio.sight.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on ``host``."""
    return host in LOOPBACK or host.startswith("127.")


def _bound(host: str, port: int) -> Any:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((host, port))
    except OSError as error:
        one.close()
        raise UserError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --port"
        ) from None
    return one


def _routes(studio: Studio) -> list[tuple[str, str, Any]]:
    """Method, path and handler of everything there is."""
    from starlette.responses import FileResponse, Response  # pyright: ignore[reportMissingImports]

    def page(request: Any, body: bytes) -> Any:
        name = request.path_params.get("name", "index.html")
        files = page_files()
        if name not in files:  # a name of the list, never a path
            raise Missing("nothing here")
        return Response(files[name], media_type=TYPES["." + name.rpartition(".")[2]])

    def upload(request: Any, body: bytes) -> Any:
        return studio.upload(body, unquote(request.headers.get("x-name", "")))

    def generated(request: Any, body: bytes) -> Any:
        names = {path.name: path for path in studio.generated.glob("*.png")}
        if request.path_params["name"] not in names:
            raise Missing("no such picture")
        return FileResponse(names[request.path_params["name"]])

    def triplet_picture(request: Any, body: bytes) -> Any:
        at = request.path_params
        shown = studio.library(at["library"])
        data, kind = shown.picture(at["part"], at["key"], at["column"])
        return Response(data, media_type=kind)

    def png(content: Any) -> Any:
        return Response(studio.export_picture(content), media_type="image/png")

    def coco(content: Any) -> Any:
        return Response(studio.export_coco(content), media_type="application/json")

    def id_of(request: Any) -> str:
        return request.path_params["id"]

    return [
        ("GET", "/", _called(page)),
        ("GET", "/page/{name}", _called(page)),
        ("GET", "/api/state", _called(lambda r, b: studio.state())),
        ("POST", "/api/pictures", _called(upload)),
        ("POST", "/api/canvas", _called(lambda r, b: studio.canvas(_json(b)))),
        ("GET", "/api/pictures/{id}", _called(lambda r, b: studio.kept(id_of(r)))),
        ("GET", "/api/pictures/{id}/shown",
         _called(lambda r, b: FileResponse(studio.shown(id_of(r)), media_type="image/jpeg"))),
        ("POST", "/api/pictures/{id}/find",
         _called(lambda r, b: studio.find(id_of(r), _json(b)))),
        ("PUT", "/api/pictures/{id}/pose",
         _called(lambda r, b: studio.keep(id_of(r), _json(b)))),
        ("POST", "/api/pictures/{id}/label",
         _called(lambda r, b: studio.save_label(id_of(r), _json(b)))),
        ("POST", "/api/convert", _called(lambda r, b: studio.convert(_json(b)))),
        ("POST", "/api/check", _called(lambda r, b: studio.check(_json(b)))),
        ("POST", "/api/export/pose_picture", _called(lambda r, b: png(_json(b)))),
        ("POST", "/api/export/coco", _called(lambda r, b: coco(_json(b)))),
        ("GET", "/api/generated/{name}", _called(generated)),
        ("GET", "/api/triplets/{library}/{part:int}/{start:int}",
         _called(lambda r, b: studio.library(r.path_params["library"]).page(
             r.path_params["part"], r.path_params["start"]))),
        ("GET", "/api/triplets/{library}/{part:int}/{key}/{column}", _called(triplet_picture)),
        ("POST", "/api/triplets/{library}/{part:int}/{key}/open",
         _called(lambda r, b: studio.open_triplet(
             r.path_params["library"], r.path_params["part"], r.path_params["key"]))),
    ]  # fmt: skip


class Missing(UserError):
    """Asked for something that is not there."""


def _called(answer: Callable[[Any, bytes], Any]) -> Any:
    """An endpoint: ``answer`` in a thread, its plain values as JSON, its errors as one line."""
    from starlette.concurrency import run_in_threadpool  # pyright: ignore[reportMissingImports]
    from starlette.responses import (  # pyright: ignore[reportMissingImports]
        JSONResponse,
        Response,
    )

    async def endpoint(request: Any) -> Any:
        try:
            given = await run_in_threadpool(answer, request, await request.body())
        except Missing as error:
            return JSONResponse({"error": str(error)}, status_code=404)
        except UserError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except Exception:
            log.exception("%s %s", request.method, request.url.path)
            words = "something went wrong here; the window where the studio runs shows what"
            return JSONResponse({"error": words}, status_code=500)
        return given if isinstance(given, Response) else JSONResponse(given)

    return endpoint


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise UserError("not valid JSON") from None


def page_files() -> dict[str, bytes]:
    """The page's own files by name."""
    folder = resources.files("tetrapose.app") / "page"
    endings = tuple(TYPES)
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.name.endswith(endings)}
