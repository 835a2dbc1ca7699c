"""Pictures and their truth: the laws of the menagerie."""

from dataclasses import replace

import numpy as np
import pytest

from tetrapose import skeletons, synth
from tetrapose.errors import UserError
from tetrapose.synth import builds, scene, solids, stage
from tetrapose.synth.camera import axes, frame
from tetrapose.synth.points import NAMES, PARTS, mapping
from tetrapose.synth.pose import Pose

COUNT = 12


@pytest.fixture(scope="module")
def scenes():
    """Pictures of one to three animals, small, so that the suite stays quick."""
    return [synth.render(i, seed=5, size=128, animals=(1, 3)) for i in range(COUNT)]


def posed(build="dog", azimuth=0.0, elevation=0.1, pose=None, yaw=0.0):
    """A stage with one animal at the origin that looks along +x, seen from an azimuth (degrees)."""
    animal = solids.actor(np.random.default_rng(0), builds.plain(build), pose or Pose(), yaw, 1.0)
    view = axes(np.deg2rad(azimuth), elevation, 0.0)
    camera = frame(animal.solid.points, view, 3.0, 0.9, (0.0, 0.0), (160, 160))
    drawn = stage.set_up(np.random.default_rng(0), (32, 32), 1, (build,), ("stand",))
    return replace(drawn, actors=(animal,), things=(), camera=camera)


def seen(one):
    """Points and visibility of a stage's first animal."""
    one, surfaces = scene.resolve(one)
    return scene._see(one, surfaces, 0)


# --- the same picture for the same number ---------------------------------------------------------


def test_bit_equal_for_a_seed_whatever_the_order(scenes):
    for i in (7, 2):
        again = synth.render(i, seed=5, size=128, animals=(1, 3))
        np.testing.assert_array_equal(again.image, scenes[i].image)
        for a, b in zip(again.animals, scenes[i].animals, strict=True):
            assert (a.points, a.visible, a.area, a.build) == (b.points, b.visible, b.area, b.build)
            np.testing.assert_array_equal(a.mask, b.mask)


def test_numbers_and_seeds_give_different_pictures(scenes):
    images = [s.image for s in scenes] + [synth.render(0, seed=6, size=128).image]
    for i, a in enumerate(images):
        assert all((a != b).mean() > 0.2 for b in images[i + 1 :])


def test_the_global_generator_is_neither_read_nor_moved(scenes):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    again = synth.render(3, seed=5, size=128, animals=(1, 3))
    np.testing.assert_array_equal(again.image, scenes[3].image)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_a_size_changes_pixels_and_not_the_scene():
    small, large = (synth.render(4, seed=1, size=size) for size in (96, 192))
    for a, b in zip(small.animals, large.animals, strict=True):
        for name in NAMES:
            want = (np.array(a.points[name][:2]) + 0.5) * 2 - 0.5
            np.testing.assert_allclose(b.points[name][:2], want, atol=1e-6)
        np.testing.assert_allclose((b.bbox + 0.5) / 2 - 0.5, a.bbox, atol=1.5)
        assert b.area == pytest.approx(4 * a.area, rel=0.06)


def test_wide_pictures_and_chosen_builds_and_poses():
    made = synth.render(1, size=(150, 90), builds=["horse"], poses=["graze"])
    assert made.image.shape == (90, 150, 3)
    assert made.image.dtype == np.uint8
    assert [(a.build, a.pose) for a in made.animals] == [("horse", "graze")]


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_animals_as_asked_for_and_each_worth_a_label(count):
    for index in range(5):
        made = synth.render(index, seed=8, size=96, animals=count)
        assert len(made.animals) == count
        assert min(a.area for a in made.animals) > 0.002 * 96**2


def test_what_there_is_not_is_refused():
    with pytest.raises(UserError, match="no build unicorn"):
        synth.render(0, builds=["unicorn"])
    with pytest.raises(UserError, match="no pose fly; there are: stand"):
        synth.render(0, poses=["fly"])
    with pytest.raises(UserError, match="none of horse takes the pose sit"):
        synth.render(0, builds=["horse"], poses=["sit"])


# --- boxes, masks, points -------------------------------------------------------------------------


def test_boxes_hold_exactly_what_is_seen(scenes):
    for made in scenes:
        for animal in made.animals:
            rows, columns = np.nonzero(animal.mask)
            want = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
            np.testing.assert_array_equal(animal.bbox, want)
            assert animal.area == animal.mask.sum() > 0


def test_no_pixel_shows_two_animals(scenes):
    for made in scenes:
        assert sum(a.mask.astype(int) for a in made.animals).max() <= 2  # an edge: half and half
        for i, a in enumerate(made.animals):
            for b in made.animals[i + 1 :]:
                assert (a.mask & b.mask).sum() < 0.06 * min(a.area, b.area) + 4


def test_seen_points_fall_on_the_animal(scenes):
    count = 0
    for made in scenes:
        for animal in made.animals:
            for name in NAMES:
                if animal.visible[name]:
                    x, y, depth = animal.points[name]
                    near = animal.mask[
                        max(int(y) - 1, 0) : int(y) + 3, max(int(x) - 1, 0) : int(x) + 3
                    ]
                    assert near.any(), (made.index, animal.build, name)
                    assert depth > 0
                    count += 1
    assert count > 200


def test_every_point_is_now_seen_and_now_hidden(scenes):
    states = {name: set() for name in NAMES}
    for made in scenes + [synth.render(i, seed=9, size=96, animals=2) for i in range(10)]:
        for animal in made.animals:
            for name in NAMES:
                states[name].add(animal.visible[name])
    assert {name for name, found in states.items() if found != {True, False}} == set()


# --- left and right, near and far -----------------------------------------------------------------


def test_left_is_the_animals_own():
    points, _ = seen(posed(azimuth=0))  # face to face: its left is the picture's right
    assert all(points[f"left_{n}"][0] > points[f"right_{n}"][0] for n in ("eye", "elbow", "hock"))
    points, _ = seen(posed(azimuth=180))  # from behind
    assert all(points[f"left_{n}"][0] < points[f"right_{n}"][0] for n in ("eye", "elbow", "hock"))


@pytest.mark.parametrize("build", builds.names())
def test_the_near_side_is_seen_and_the_far_side_hidden(build):
    for azimuth, near, far in ((90, "left", "right"), (-90, "right", "left")):
        points, visible = seen(posed(build, azimuth))
        for name in ("shoulder", "elbow", "carpus", "hip", "stifle", "hock", "eye", "front_paw"):
            assert visible[f"{near}_{name}"], name
            assert points[f"{near}_{name}"][2] < points[f"{far}_{name}"][2]
        assert not any(visible[f"{far}_{name}"] for name in ("eye", "shoulder", "hip", "stifle"))
        for name in ("nose", "throat", "withers", "back", "tail_root", "neck", "neck_base", "head"):
            assert visible[name], name
    _, visible = seen(posed(build, 0))
    assert all(visible[name] for name in ("left_eye", "right_eye", "nose"))
    _, visible = seen(posed(build, 180))
    assert not any(visible[name] for name in ("left_eye", "right_eye", "nose"))


def test_a_mirrored_world_gives_mirrored_points():
    one = posed("cat", 40)
    points, visible = seen(one)
    mirrored, turned = seen(posed("cat", -40))
    for name in NAMES:
        partner = skeletons.mirror_name(name)
        np.testing.assert_allclose(mirrored[partner][0], 159 - points[name][0], atol=1e-6)
        np.testing.assert_allclose(mirrored[partner][1:], points[name][1:], atol=1e-6)
    same = [visible[name] == turned[skeletons.mirror_name(name)] for name in NAMES]
    assert np.mean(same) > 0.9  # pixels at an edge may fall to either side


# --- visibility against rays ----------------------------------------------------------------------


def hits_along_ray(origin, way, solid):
    """(depth, part) of each front face of a solid that a ray meets; depth in lengths of ``way``."""
    a, b, c = (solid.points[solid.faces[:, i]] for i in range(3))
    edge1, edge2 = b - a, c - a
    normal = np.cross(edge1, edge2)
    slope = normal @ way
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.einsum("fi,fi->f", normal, a - origin) / slope
        place = origin + t[:, None] * way - a
        size = np.einsum("fi,fi->f", normal, normal)
        u = np.einsum("fi,fi->f", np.cross(place, edge2), normal) / size
        v = np.einsum("fi,fi->f", np.cross(edge1, place), normal) / size
    hit = (slope < 0) & (t > 0) & (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6)
    return list(zip(t[hit], solid.part[hit], strict=True))


@pytest.mark.parametrize("number", range(4))
def test_visibility_equals_rays_cast_at_every_surface(number):
    one = stage.set_up(
        np.random.default_rng([31, number]), (128, 128), 2, builds.names(), stage.POSES
    )
    one, surfaces = scene.resolve(one)
    camera = one.camera.finer(scene.FINER)
    shown = 0
    for index, animal in enumerate(one.actors):
        points, visible = scene._see(one, surfaces, index)
        for name, spec in animal.points.items():
            x, y = np.round((np.array(points[name][:2]) + 0.5) * scene.FINER - 0.5)
            if not (0 <= x < camera.size[0] and 0 <= y < camera.size[1]):
                assert not visible[name]
                continue
            right, up, forward = camera.axes
            way = forward + right * (x - camera.middle[0]) / camera.focal
            way = way + up * (camera.middle[1] - y) / camera.focal
            hits = []
            for whose, solid in enumerate([a.solid for a in one.actors] + list(one.things)):
                hits += [(t, whose, part) for t, part in hits_along_ray(camera.place, way, solid)]
            if not hits:
                assert not visible[name]
                continue
            least = min(t for t, _, _ in hits)
            # two surfaces within a hair of each other may be told in either order
            answers = {
                whose == index and PARTS[part] in spec.parts and points[name][2] - t <= spec.reach
                for t, whose, part in hits
                if t < least + 2e-3
            }
            shown += visible[name]
            assert visible[name] in answers, (animal.individual.build, name)
    assert shown > 5


def test_another_animal_in_front_hides():
    one = posed("horse", 90)
    _, alone = seen(one)
    screen = solids.actor(np.random.default_rng(1), builds.plain("cow"), Pose(), 0.0, 1.0)
    both = replace(one, actors=(one.actors[0], screen.move(np.array([0.0, 0.9, 0.0]))))
    surfaces, full = scene._surfaces(both)
    _, covered = scene._see(both, surfaces, 0)
    assert full[0] > 0
    assert sum(covered.values()) < sum(alone.values()) - 8
    assert not any(covered[name] and not alone[name] for name in NAMES)


def test_an_animal_of_which_too_little_is_seen_leaves_the_picture():
    one = posed("cat", 90)
    near = solids.actor(np.random.default_rng(1), builds.plain("cow"), Pose(), 0.0, 3.0)
    both = replace(one, actors=(near.move(np.array([0.6, 1.4, -1.0])), one.actors[0]))
    kept, surfaces = scene.resolve(both)
    assert [a.individual.build for a in kept.actors] == ["cow"]
    assert set(np.unique(surfaces.owner)) <= {-1, 0}


# --- conventions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", skeletons.available())
def test_every_convention_is_covered(name, scenes):
    skeleton, table = skeletons.load(name), mapping(name)
    lacking = {p.name for p in skeleton.keypoints if p.place not in NAMES}
    assert set(table) | lacking == set(skeleton.names)
    assert len(table) > len(skeleton) / 2
    for keypoint, point in table.items():
        assert table[skeletons.mirror_name(keypoint)] == skeletons.mirror_name(point)
    for made in scenes:
        labels = synth.instances(made, name)
        assert len(labels) == len(made.animals)
        height, width = made.image.shape[:2]
        for n, animal in enumerate(made.animals):
            for k, keypoint in enumerate(skeleton.names):
                if keypoint in lacking:
                    assert labels.visibility[n, k] == 0
                    assert np.isnan(labels.keypoints[n, k]).all()
                    continue
                x, y, _ = animal.points[table[keypoint]]
                inside = -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5
                if not inside:
                    assert labels.visibility[n, k] == 0
                    assert np.isnan(labels.keypoints[n, k]).all()
                else:
                    assert labels.visibility[n, k] == 1 + animal.visible[table[keypoint]]
                    np.testing.assert_array_equal(labels.keypoints[n, k], (x, y))


def test_one_joint_has_one_place_under_every_name(scenes):
    animal_pose, ap10k = (synth.instances(scenes[0], n) for n in ("animal_pose", "ap10k"))
    a, b = skeletons.load("animal_pose"), skeletons.load("ap10k")
    for one, other in (
        ("left_front_elbow", "left_shoulder"), ("left_front_knee", "left_elbow"),
        ("right_back_elbow", "right_hip"), ("right_back_knee", "right_knee"),
        ("tailbase", "root_of_tail"), ("nose", "nose"),
    ):  # fmt: skip
        np.testing.assert_array_equal(
            animal_pose.keypoints[:, a.index(one)], ap10k.keypoints[:, b.index(other)]
        )


def test_an_unknown_convention_is_refused(scenes):
    with pytest.raises(UserError, match="no skeleton 'centaur'"):
        synth.instances(scenes[0], "centaur")
    skeleton = skeletons.load("ap10k")
    mute = tuple(replace(point, place="") for point in skeleton.keypoints)
    with pytest.raises(UserError, match="does not tell the place of left_eye"):
        synth.instances(scenes[0], replace(skeleton, keypoints=mute))
    antlers = tuple(replace(point, place="antler_tip") for point in skeleton.keypoints)
    with pytest.raises(UserError, match="has none of the places"):
        synth.instances(scenes[0], replace(skeleton, keypoints=antlers))
