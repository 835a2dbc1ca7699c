"""Names, sides, edges, mirror lists and values a point."""

from __future__ import annotations

import clean_labels as clean
import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.audit import checking, lists, mending, raw, sided
from tetrapose.errors import UserError

SETTINGS = checking.Settings()
AP10K = skeletons.load("ap10k")
FLIP = AP10K.flip_indices.tolist()
PAIRS = [[i, j] for i, j in enumerate(FLIP) if i < j]
# facts of FreeNet's info/union_definition.json (yzrs/FreeNet): 24 names, 21 sigmas, people's edges
UNION = [
    *("L_eye", "R_eye", "nose", "neck", "tail", "L_F_hip", "L_F_knee", "L_F_paw", "R_F_hip"),
    *("R_F_knee", "R_F_paw", "L_B_hip", "L_B_knee", "L_B_paw", "R_B_hip", "R_B_knee", "R_B_paw"),
    *("L_ear", "R_ear", "throat", "wither", "chin", "L_shoulder", "R_shoulder"),
]


def codes(content):
    sheet = raw.sheet_of(content, "x")
    return [one.code for one in checking.check(sheet, None, SETTINGS)[0]]


def mended(content):
    return mending.mend(raw.sheet_of(content, "x"), None, SETTINGS)[0]


def spoilt(**fields):
    content = clean.labels(1)
    for category in content["categories"]:
        category |= fields
    return content


@pytest.mark.parametrize(
    "names, due",
    [
        (["left_eye", "right_eye", "nose"], [1, 0, 2]),
        (["L_Eye", "R_Eye", "Nose"], [1, 0, 2]),
        (["Eye_Left", "Eye_Right", "Ankle_Left ", "Ankle_Right"], [1, 0, 3, 2]),
        (["eyeL", "eyeR", "forelegR1", "forelegL1"], [1, 0, 3, 2]),
        (["leftear", "rightear", "tailbase"], [1, 0, 2]),
        (["Nearknee", "Offknee", "Girth"], [1, 0, 2]),
        (["lear", "rear", "Elbow"], [0, 1, 2]),  # no sides in any style that is known
    ],
)
def test_partners_are_found_in_every_style(names, due):
    index, alone = sided.partners(names)
    assert index.tolist() == due
    assert alone == []
    assert (index[index] == np.arange(len(names))).all()


def test_shipped_skeletons_have_the_partners_that_their_names_tell():
    for name in skeletons.available():
        skeleton = skeletons.load(name)
        assert sided.partners(skeleton.names)[0].tolist() == skeleton.flip_indices.tolist()


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"sigmas": [0.05] * 16}, "list-length"),
        ({"ori_kps_weights": [1.0] * 18}, "list-length"),
        ({"flip_indices": FLIP[:-1]}, "list-length"),
        ({"sigmas": [0.05] * 16 + [0.06]}, "list-uneven"),
        ({"flip_indices": [*FLIP[:-2], 3, 4]}, "flip-not-involution"),
        ({"flip_indices": list(range(17))}, "flip-not-involution"),
        ({"flip_indices": [99, *FLIP[1:]]}, "flip-not-involution"),
        ({"flip_pairs": [*PAIRS, [0, 5]]}, "flip-not-involution"),
        ({"flip_pairs": PAIRS[:-1]}, "flip-not-involution"),
        ({"flip_pairs": [[1, 2, 3]]}, "flip-not-involution"),
        ({"skeleton": AP10K.edge_indices.tolist()}, "edges-base"),
        ({"skeleton": [list(edge) for edge in lists.PEOPLE_EDGES]}, "edges-foreign"),
        ({"skeleton": [[1, 40]]}, "edges-foreign"),
        ({"skeleton": [[1, 9], [6, 15], [7, 14]]}, "edges-foreign"),  # from side to side
        ({"skeleton": [["left_eye", "tusk"]]}, "edges-foreign"),
    ],
)
def test_a_wrong_list_is_found_alone_and_mended(fields, code):
    content = spoilt(**fields)
    assert codes(content) == [code]
    assert codes(mended(content)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"sigmas": AP10K.sigmas.tolist()},
        {"flip_indices": FLIP},
        {"flip_pairs": PAIRS},
        {"flip_pairs": [[AP10K.names[i], AP10K.names[j]] for i, j in PAIRS]},
        {"skeleton": [list(edge) for edge in AP10K.edges]},
        {"skeleton": []},
    ],
)
def test_right_lists_give_nothing(fields):
    assert codes(spoilt(**fields)) == []


def test_mended_lists_are_right_not_merely_gone():
    held = mended(spoilt(flip_indices=list(range(17)), skeleton=AP10K.edge_indices.tolist()))
    assert held["categories"][2]["flip_indices"] == FLIP
    assert held["categories"][2]["skeleton"] == (AP10K.edge_indices + 1).tolist()


def test_a_point_without_partner_is_left_to_a_person():
    content = clean.labels(1)
    for category in content["categories"]:
        category["keypoints"] = ["left_tusk", *category["keypoints"][1:]]
    sheet = raw.sheet_of(content, "x")
    found = checking.check(sheet, None, SETTINGS)[0]
    assert {one.code for one in found} == {"flip-partner-missing"}
    assert set(found[0].entries) == {"left_tusk", "right_eye"}


def test_a_definition_without_labels_is_audited_too():
    people = [list(edge) for edge in lists.PEOPLE_EDGES]
    content = {
        "keypoints": UNION,
        "skeleton": [*people, [0, 17], [1, 18]],
        "sigmas": [0.05] * 21,
        "ap_10k": {"keypoints": UNION[:17], "skeleton": people, "sigmas": [0.05] * 24},
        "tigdog": {"keypoints": ["L_eye", "R_eye", "chin"], "sigmas": [0.025, 0.025, 0.035]},
    }
    sheet = raw.sheet_of(content, "definition.json")
    found = {one.code: one for one in checking.check(sheet, None, SETTINGS)[0]}
    assert set(found) == {"list-length", "edges-foreign"}
    assert found["list-length"].entries == ("definition: sigmas", "ap_10k: sigmas")
    assert found["edges-foreign"].count == 2
    held = mended(content)
    assert "sigmas" not in held
    assert "sigmas" not in held["ap_10k"]
    assert "sigmas" in held["tigdog"]
    assert codes(held) == []


@pytest.mark.parametrize("content", [[], "text", 3, None, {}, {"images": []}, {"keypoints": [1]}])
def test_what_is_no_label_file_is_told_in_one_line(content):
    with pytest.raises(UserError) as error:
        raw.sheet_of(content, "x.json")
    assert str(error.value).startswith("x.json: ")
    assert "\n" not in str(error.value)
