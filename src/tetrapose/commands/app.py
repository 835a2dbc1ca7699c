"""The studio: find, pose and correct animals in the browser.

  tetrapose app
  tetrapose app --folder poses --triplets libraries/dogs --browser
  tetrapose app --host 0.0.0.0 --allow-host studio.example.org

Drop a photograph: animals are found and their points drawn; drag points, move between skeletons,
export JSON, a pose picture or COCO, save what was corrected as labels (FOLDER/labels/SKELETON/
labels.json, which `tetrapose train` reads). Everything happens on this machine, and nothing is
fetched. Only this machine reaches the page unless --host says otherwise; there is no password, so
put one in front (a proxy) before others can reach it. Ctrl+C ends it. docs/studio.md shows it all.
"""

from __future__ import annotations

import argparse
import sys

HELP = "the studio: find, pose and correct animals in the browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("--folder", default="studio", metavar="DIR", help="all that is kept goes here (studio)")
    add("--host", default="127.0.0.1", metavar="A", help="address to listen on (this machine only)")
    add("--port", type=int, default=7860, metavar="N", help="port (7860); 0 takes a free one")
    add(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a further host name that the page is reached by; may stand several times",
    )  # fmt: skip
    add(
        "--triplets", action="append", default=[], metavar="DIR",
        help="a library of triplets to look through; may stand several times",
    )  # fmt: skip
    add("--model", default="default", metavar="NAME|FILE", help="shipped model or .safetensors")
    add("--finder", default="finder", metavar="NAME|FILE", help="what finds animals")
    add("--base", metavar="DIR|NAME", help="with --controlnet: the pipeline it was trained on")
    add("--controlnet", metavar="DIR", help="paint posed animals with it (tetrapose controlnet)")
    add("--megabytes", type=float, default=25, metavar="N", help="largest file taken (25)")
    add("--megapixels", type=float, default=50, metavar="N", help="largest picture taken (50)")
    add("--seconds", type=float, default=30, metavar="S", help="longest upload, and look (30)")
    add("--browser", action="store_true", help="open the page in the browser")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from pathlib import Path

    from tetrapose.app.browsing import open_all
    from tetrapose.app.looking import Sight, shipped_models
    from tetrapose.app.serving import is_loopback, serve
    from tetrapose.app.studio import Studio
    from tetrapose.app.uploads import Limits
    from tetrapose.errors import UserError

    for name in ("megabytes", "megapixels", "seconds"):
        if not 0 < getattr(args, name) <= 10_000:
            raise UserError(f"--{name} must lie in 0..10000, not {getattr(args, name):g}")
    if not 0 <= args.port < 65536:
        raise UserError(f"--port must lie in 0..65535, not {args.port}")
    folder = Path(args.folder).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--folder {args.folder}: cannot be made ({error.strerror})") from None
    triplets = open_all(args.triplets)
    if (args.base is None) != (args.controlnet is None):
        raise UserError("--base and --controlnet go together")
    generator = None
    if args.controlnet is not None:
        from tetrapose.controlnet.painter import load_painter

        generator = load_painter(args.base, args.controlnet)
    studio = Studio(
        folder=folder,
        sight=Sight(shipped_models(args.model, args.finder)),
        limits=Limits(args.megabytes, args.megapixels, args.seconds),
        triplets=triplets,
        generator=generator,
    )

    def started(address: str) -> None:
        print(f"studio  {address}   (Ctrl+C ends it)\nfolder  {folder}", flush=True)
        if not is_loopback(args.host):
            told = "anyone who reaches this machine can use the studio; it has no password"
            print(f"tetrapose: note: {told}", file=sys.stderr, flush=True)
        if args.browser:
            import webbrowser

            webbrowser.open(address)

    serve(studio, host=args.host, port=args.port, allowed=args.allow_host, started=started)
    return 0
