"""The studio over HTTP, as scripts and foreign pages meet it; no browser."""

from __future__ import annotations

import asyncio
import gc
import http.client
import io
import json
import re
import time
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image
from studio_parts import SMALL, jpeg, pose, serving, studio

from tetrapose.app import poses
from tetrapose.app.generating import made, read_wish
from tetrapose.app.looking import Sight
from tetrapose.app.serving import is_loopback, page_files
from tetrapose.app.studio import Studio
from tetrapose.data import open_set
from tetrapose.errors import UserError
from tetrapose.render.pose_picture import pose_picture

pytest.importorskip("fastapi", reason="the studio's packages are not installed (tetrapose[app])")

EVIL = "../../<img src=x onerror=alert(1)>.jpg"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One server for all tests that do not need limits of their own."""
    with serving(studio(tmp_path_factory.mktemp("studio"))) as one:
        yield one


def uploaded(served, name: str = "dog.jpg", seed: int = 0) -> str:
    status, told = served.ask("/api/pictures", jpeg(seed=seed), headers={"X-Name": quote(name)})
    assert status == 200, told
    return told["id"]


def test_the_page_and_its_files_are_served(served):
    status, body, headers = served.get("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    for name in re.findall(r'(?:src|href)="/page/([\w.]+)', body.decode()):
        assert served.get(f"/page/{name}")[:2] == (200, page_files()[name])


@pytest.mark.parametrize(
    "path",
    ["/page/../poses.py", "/page/..%2fposes.py", "/page/%2e%2e/poses.py", "/page/x.js", "/docs",
     "/openapi.json", "/gradio", "/api/generated/..%2f..%2fpictures", "/api/generated/x.png"],
)  # fmt: skip
def test_what_is_not_offered_is_not_there(served, path):
    where = urlsplit(served.address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.request("GET", path)  # as it stands: urllib would tidy it
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"Copyright" not in answer.read()
    connection.close()


def test_animals_are_found_and_come_on_the_skeleton_asked_for(served):
    id = uploaded(served)
    status, told = served.ask(f"/api/pictures/{id}/find", {"skeleton": "union26"})
    assert status == 200
    assert told["found"]
    posed = poses.read(told["pose"])
    assert posed.skeleton.name == "union26"
    assert posed.labels == ("dog", "animal")
    nose = posed.skeleton.index("nose")
    assert posed.instances.visibility[:, nose].tolist() == [1, 1]  # the model was in doubt
    assert posed.instances.visibility[0, posed.skeleton.index("withers")] == 2
    unit = poses.preset("side", posed.skeleton)[nose]
    expected = [20 + 180 * unit[0], 30 + 160 * unit[1]]
    np.testing.assert_allclose(posed.instances.keypoints[0, nose], expected, atol=0.01)


def test_one_animal_is_found_in_a_box(served):
    id = uploaded(served)
    box = [100, 100, 150, 160]
    status, told = served.ask(f"/api/pictures/{id}/find", {"skeleton": "union21", "bbox": box})
    assert status == 200
    (animal,) = told["pose"]["animals"]
    assert animal["bbox"] == box
    for bad in ([5, 5, 5, 5], [1, 2], "x", [0, 0, float("1e9"), 1]):
        status, told = served.ask(f"/api/pictures/{id}/find", {"skeleton": "union21", "bbox": bad})
        assert status == 400


def test_a_picture_without_an_animal_says_so(served):
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 9, 9)).save(out, "PNG")
    _, told = served.ask("/api/pictures", out.getvalue())
    status, told = served.ask(f"/api/pictures/{told['id']}/find", {"skeleton": "union26"})
    assert (status, told["found"], told["pose"]["animals"]) == (200, False, [])


def test_a_pose_is_kept_for_the_next_time(served):
    id = uploaded(served, seed=7)
    assert served.ask(f"/api/pictures/{id}")[1]["pose"] is None
    status, _ = served.ask(f"/api/pictures/{id}/pose", pose(), method="PUT")
    assert status == 200
    status, kept = served.ask(f"/api/pictures/{id}")
    assert kept["pose"] == poses.to_plain(poses.read(pose()))
    status, _ = served.ask(f"/api/pictures/{id}/pose", {"format": "evil"}, method="PUT")
    assert status == 400
    assert served.ask(f"/api/pictures/{id}")[1] == kept


def test_a_corrected_pose_becomes_a_label(served):
    id = uploaded(served, name=EVIL, seed=11)
    status, told = served.ask(f"/api/pictures/{id}/label", pose())
    assert status == 200
    found = open_set(told["spec"])
    assert found.files == (f"{id}.jpg",)
    inside = served.studio.folder.resolve()
    assert found.path(0).resolve().is_relative_to(inside)


def test_exports_are_what_they_say(served):
    status, data, headers = served.get("/api/export/pose_picture", {"pose": pose()})
    assert (status, headers["content-type"]) == (200, "image/png")
    posed = poses.read(pose())
    drawn = np.array(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(
        drawn, pose_picture(posed.size, posed.instances, posed.skeleton, hidden="drawn")
    )
    assert drawn.any()
    status, coco = served.ask("/api/export/coco", pose())
    assert status == 200
    assert coco["images"][0]["file_name"] == "dog.jpg"
    assert len(coco["annotations"][0]["keypoints"]) == 26 * 3
    for wrong in ({"style": "../x"}, {"hidden": "x"}, {"pose": None}):
        assert served.get("/api/export/pose_picture", {"pose": pose(), **wrong})[0] == 400
    huge = pose(picture={"name": "x", "width": 9000, "height": 9000})
    assert served.get("/api/export/pose_picture", {"pose": huge})[0] == 400


def test_moving_between_skeletons_tells_what_happens(served):
    status, told = served.ask("/api/convert", {"pose": pose("quadruped"), "to": "union26"})
    assert status == 200
    assert told["pose"]["skeleton"] == "union26"
    assert "left_front_ankle" in told["grades"]["absent"]
    assert "tail_tip" in told["grades"]["lost"]
    assert served.ask("/api/convert", {"pose": pose(), "to": "/etc/x.yaml"})[0] == 400


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"pose": 1e999}']
)
@pytest.mark.parametrize(
    "path", ["/api/canvas", "/api/convert", "/api/check", "/api/export/coco",
             "/api/export/pose_picture", "/api/pictures/00000000000000000000/find"]
)  # fmt: skip
def test_nonsense_is_answered_with_one_line(served, path, body):
    status, told = served.ask(path, body)
    assert status == 400
    assert told["error"]
    assert "\n" not in told["error"]


@pytest.mark.parametrize("data", [b"", b"not a picture", jpeg()[:900], b"\x89PNG\r\n\x1a\n" * 9])
def test_a_corrupt_upload_is_answered_with_one_line(served, data):
    status, told = served.ask("/api/pictures", data, headers={"X-Name": quote(EVIL)})
    assert status == 400
    assert told["error"].startswith("../../<img src=x onerror=alert(1)>.jpg: ")
    assert str(served.studio.folder) not in told["error"]


def test_another_site_gets_nothing(served):
    here = served.address.removeprefix("http://")
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert served.ask("/api/state", headers=headers)[0] in (403, 421)
    assert served.ask("/api/state", headers={"Origin": f"http://{here}"})[0] == 200
    assert (
        served.ask("/api/canvas", {"width": 9, "height": 9}, headers={"X-Tetrapose": ""})[0] == 403
    )


def test_limits_hold_over_the_wire(tmp_path):
    with serving(studio(tmp_path, limits=SMALL)) as small:
        status, told = small.ask("/api/pictures", b"x" * 4_500_000)
        assert (status, told["error"]) == (413, "the upload is over 4 MB; shrink the picture")
        status, told = small.ask("/api/pictures", b"x" * 300_000)
        assert status == 400
        assert "at most 0.2 are taken" in told["error"]
        status, told = small.ask("/api/pictures", jpeg(800, 600))
        assert "more than 0.3 megapixels" in told["error"]


def test_a_bug_is_told_without_its_insides(tmp_path, caplog):
    one = studio(tmp_path)

    def broken():
        raise RuntimeError(f"secret of {tmp_path}")

    one.state = broken  # type: ignore[method-assign]
    with serving(one) as served:
        status, told = served.ask("/api/state")
    assert status == 500
    assert "secret" not in told["error"]
    assert "secret" in caplog.text


def test_models_that_cannot_be_loaded_are_told(tmp_path):
    def absent():
        raise UserError("no model 'x'; there is default")

    sight = Sight(absent)
    one = Studio(folder=tmp_path, sight=sight)
    id = one.upload(jpeg(), "x")["id"]
    with pytest.raises(UserError, match="no model 'x'"):
        one.find(id, {"skeleton": "union26"})
    assert "no model 'x'" in one.state()["models"]
    sight.close()


def test_a_look_that_takes_too_long_is_ended(tmp_path):
    class Slow:
        def find(self, image):
            time.sleep(0.5 if isinstance(image, np.ndarray) else 0)
            raise UserError("never")

    sight = Sight(lambda: (Slow(), None))  # type: ignore[arg-type,return-value]
    assert sight.state == "loading"
    with pytest.raises(UserError, match="still being loaded"):
        sight.look(tmp_path / "x.jpg", None, 0.05)
    sight.close()


class Painter:
    """A generator that paints the seed's grey."""

    title = "painter <b>"

    def generate(self, wish):
        if "nothing" in wish.prompt:
            raise UserError("there is no picture of nothing")
        for number in range(wish.count):
            width, height = wish.posed.size
            yield np.full((height, width, 3), wish.seed + number, np.uint8)


WISH = {"prompt": " a  dog ", "pose": pose(), "count": 2, "seed": 40}


def test_a_wish_is_read_and_its_pictures_come_one_by_one(tmp_path):
    wish = read_wish(WISH)
    assert (wish.prompt, wish.count, wish.seed) == ("a dog", 2, 40)
    steps = list(made(Painter(), WISH, tmp_path))
    assert [len(step["pictures"]) for step in steps] == [1, 2]
    assert {path.name for path in tmp_path.iterdir()} == set(steps[-1]["pictures"])
    (step,) = made(Painter(), {**WISH, "prompt": "nothing"}, tmp_path)
    assert step["error"] == "there is no picture of nothing"


@pytest.mark.parametrize(
    "change, words",
    [({"prompt": " "}, "write a prompt"), ({"prompt": "x" * 2001}, "2001 characters"),
     ({"count": 9}, "from 1 to 8"), ({"count": True}, "from 1 to 8"), ({"seed": -1}, "the seed"),
     ({"seed": 1.5}, "the seed"), ({"pose": pose(animals=[])}, "no point to follow"),
     ({"pose": None}, "not of the form")],
)  # fmt: skip
def test_a_wish_that_cannot_be_is_told(change, words):
    with pytest.raises(UserError, match=words):
        read_wish({**WISH, **change})
    with pytest.raises(UserError, match="an object"):
        read_wish([])


def test_the_form_for_a_generator_is_there_only_with_one(served):
    assert served.ask("/api/state")[1]["generator"] is None


@pytest.fixture
def gradio_loops():
    """Closes the event loops that Gradio makes for its locks and leaves behind."""
    pytest.importorskip("gradio")
    yield
    for one in gc.get_objects():
        if isinstance(one, asyncio.BaseEventLoop) and not one.is_running():
            one.close()


@pytest.mark.usefixtures("gradio_loops")
@pytest.mark.filterwarnings("ignore")  # of other people's packages
def test_a_generator_is_asked_through_gradios_queue(tmp_path):
    call = "/gradio/gradio_api/call/generate"
    with serving(studio(tmp_path, generator=Painter())) as one:
        assert one.ask("/api/state")[1]["generator"] == "painter <b>"
        plain = {"Content-Type": "application/json"}
        status, told = one.ask(call, {"data": [WISH]}, headers=plain)
        assert status == 200, told
        status, body, _ = one.get(f"{call}/{told['event_id']}")
        steps = [json.loads(data) for data in re.findall(r"^data: (\[.*\])$", body.decode(), re.M)]
        names = steps[-1][0]["pictures"]
        assert len(names) == 2
        status, data, headers = one.get(f"/api/generated/{names[1]}")
        assert (status, headers["content-type"]) == (200, "image/png")
        # of Gradio nothing else can be asked
        for path in ("/gradio", "/gradio/gradio_api/upload", "/gradio/gradio_api/file=/etc/passwd",
                     "/gradio/config", "/gradio/gradio_api/call/other"):  # fmt: skip
            assert one.get(path)[0] == 404, path
        assert one.ask(call, {"data": [WISH]}, headers={"Origin": "https://evil.example"})[0] == 403


def test_which_addresses_stay_on_this_machine():
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("192.168.0.2")
