"""Skeletons, poses and volumes: what holds for every build."""

import numpy as np
import pytest

from tetrapose.errors import UserError
from tetrapose.synth import body, builds, mesh, postures
from tetrapose.synth.coat import SCHEMES
from tetrapose.synth.points import MIDLINE, NAMES, PAIRED, PARTS, locate
from tetrapose.synth.pose import LEGS, Pose, solve
from tetrapose.synth.postures import PHASES
from tetrapose.synth.stage import POSES

BUILDS = builds.names()


def individual(build, seed=0):
    return builds.draw(np.random.default_rng(seed), build)


@pytest.mark.parametrize("build", BUILDS)
def test_bones_keep_their_length_in_every_pose(build):
    one = individual(build, 3)
    for number, name in enumerate(POSES):
        pose = postures.draw(np.random.default_rng(number), one.shape, name)
        at = solve(one.shape, pose).at
        for leg in LEGS:
            chart = one.shape["front" if leg.endswith("front") else "hind"]["joints"]
            places = [at[f"{leg}_{part}"] for part in ("top", "middle", "ankle", "fetlock", "toe")]
            bones = np.linalg.norm(np.diff(places, axis=0), axis=1)
            wanted = np.linalg.norm(np.diff(chart, axis=0), axis=1)
            np.testing.assert_allclose(bones[2:], wanted[2:], atol=1e-9)
            # the two upper bones reach from joint to joint as long as the target is within reach
            np.testing.assert_allclose(bones[:2], wanted[:2], rtol=0.03, atol=2e-3)


@pytest.mark.parametrize("build", BUILDS)
def test_at_rest_the_chart_is_met(build):
    one = builds.plain(build)
    at = solve(one.shape, Pose()).at
    for side, sign in (("left", 1), ("right", -1)):
        elbow, chart = at[f"{side}_front_middle"], one.shape["front"]["joints"][1]
        assert np.sign(elbow[1]) == sign
        np.testing.assert_allclose(elbow[[0, 2]], chart, atol=0.02)
        stifle, chart = at[f"{side}_back_middle"], one.shape["hind"]["joints"][1]
        np.testing.assert_allclose(stifle[[0, 2]], chart, atol=0.02)
        assert stifle[0] > at[f"{side}_back_ankle"][0]  # a stifle bends forward, a hock back


@pytest.mark.parametrize("build", BUILDS)
def test_feet_stand_on_the_ground(build):
    one = builds.plain(build)
    joints = solve(one.shape, Pose())
    solid = mesh.build(body.tubes(one.shape, joints), body.joins(one.shape))
    low = solid.points[:, 2].min()
    assert -0.03 < low < 0.03


@pytest.mark.parametrize("build", BUILDS)
def test_anatomy_is_in_order(build):
    one = builds.plain(build)
    joints = solve(one.shape, Pose())
    at = {name: p.place for name, p in locate(one.shape, joints, np.zeros(3)).items()}
    assert set(at) == set(NAMES)
    for name in MIDLINE:
        assert at[name][1] == pytest.approx(0, abs=1e-9), name
    for name in PAIRED:
        left, right = at[f"left_{name}"], at[f"right_{name}"]
        assert left[1] > 0 > right[1]
        np.testing.assert_allclose(left * (1, -1, 1), right, atol=1e-9)

    def in_order(axis, *names):
        values = [at[name][axis] for name in names]
        assert values == sorted(values), names

    in_order(2, "left_front_paw", "left_carpus", "left_elbow", "left_shoulder", "withers")
    in_order(2, "left_back_paw", "left_hock", "left_stifle", "left_hip", "back")
    in_order(0, "tail_root", "back", "withers", "neck_base", "throat", "left_eye", "nose")
    in_order(0, "left_hock", "left_hip", "left_stifle", "left_elbow", "left_shoulder")
    in_order(2, "nose", "head", "left_ear_base")
    assert at["withers"][2] == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("build", BUILDS)
def test_points_lie_in_or_on_the_body(build):
    one = individual(build, 5)
    for name in ("stand", "walk", "lie"):
        pose = postures.draw(np.random.default_rng(1), one.shape, name)
        joints = solve(one.shape, pose)
        solid = mesh.build(body.tubes(one.shape, joints), body.joins(one.shape))
        for point, spec in locate(one.shape, joints, joints.at["tail_root"]).items():
            parts = [i for i, t in enumerate(body.tubes(one.shape, joints)) if t.part in spec.parts]
            mine = np.isin(solid.tube, parts)
            away = np.linalg.norm(solid.points[mine] - spec.place, axis=1).min()
            # the skin of the point's own parts is no farther than the point's reach and a mesh cell
            assert away < spec.reach + 0.03, point
            assert set(spec.parts) <= set(PARTS)


def test_a_mesh_is_closed_and_looks_outward():
    one = builds.plain("cat")
    joints = solve(one.shape, Pose())
    solid = mesh.build(body.tubes(one.shape, joints), body.joins(one.shape))
    corners = solid.points[solid.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # signed volume of each tube over the origin of its own corners: positive when wound outward
    for tube in range(solid.face_tube.max() + 1):
        mine = solid.face_tube == tube
        centre = solid.points[solid.tube == tube].mean(axis=0)
        volume = np.einsum("fi,fi->f", corners[mine, 0] - centre, across[mine]).sum() / 6
        assert volume > 0
    mean = solid.normals[solid.faces].mean(axis=1)
    size = np.linalg.norm(across, axis=1)
    agree = np.einsum("fi,fi->f", mean, across)[size > 1e-6] > 0
    assert agree.mean() > 0.94  # the rest lies folded inside the joins


def test_joins_only_add_volume():
    one = builds.plain("horse")
    tubes = body.tubes(one.shape, solve(one.shape, Pose()))
    plain, joined = mesh.build(tubes), mesh.build(tubes, body.joins(one.shape))
    moved = np.linalg.norm(joined.points - plain.points, axis=1)
    outward = np.einsum("vi,vi->v", joined.points - plain.points, plain.normals)
    assert moved.max() < 0.2
    assert (moved > 1e-4).mean() > 0.1
    assert (outward[moved > 1e-4] > -0.02).mean() > 0.97


def test_gaits_name_every_leg_and_every_build_its_poses():
    assert all(set(phases) == set(LEGS) for phases in PHASES.values())
    for build, data in builds.load().items():
        assert set(data["poses"]) <= set(POSES), build
        for coat in data["coats"]:
            assert set(coat.get("tone", {})) <= set(SCHEMES), (build, coat["name"])


@pytest.mark.parametrize("build", BUILDS)
def test_individuals_differ_and_the_same_draw_is_the_same_animal(build):
    one, again, other = individual(build, 1), individual(build, 1), individual(build, 2)
    assert one.coat == again.coat
    np.testing.assert_array_equal(one.shape["trunk"], again.shape["trunk"])
    assert not np.array_equal(one.shape["trunk"], other.shape["trunk"])


def test_every_variant_and_coat_can_be_drawn():
    for build, data in builds.load().items():
        for variant in range(len(data.get("variants", []))):
            builds.plain(build, variant=variant)
        for coat in range(len(data["coats"])):
            assert builds.plain(build, coat=coat).coat["base"].startswith("#")


def test_unknown_builds_are_named():
    with pytest.raises(UserError, match=r"no build unicorn; there are: cat, cow"):
        builds.check(["cat", "unicorn"])
