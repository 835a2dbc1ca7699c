"""The network that a training starts from, read off the card of its weights."""

from __future__ import annotations

from typing import Any

# graphs of others that are run as they are
FIXED = "tetrapose.models.onnx_graph:"
# a network with a codec's head around it: it goes with that codec alone (configs/head)
WRAPPED = "tetrapose.models.simcc:"


def network_of_card(source: str) -> dict[str, Any] | None:
    """The ``model`` of a configuration for weights with a card: a shipped name, a .safetensors.

    None where there is no card, or none that says it (what is wrong with the file is then told by
    whoever reads its weights). Raises UserError for a network that cannot be trained.
    """
    from tetrapose.errors import UserError
    from tetrapose.weights import backbone, imagenet
    from tetrapose.weights import card as cards
    from tetrapose.weights.files import PICKLES

    if source.startswith(imagenet.PREFIX) or source.endswith(PICKLES):
        return None
    try:
        card = backbone.read(source) if backbone.is_backbone(source) else cards.read(source)
    except UserError:
        return None
    made = card.get("architecture")
    made = made if isinstance(made, dict) else {}
    builder, arguments = made.get("builder"), made.get("arguments")
    if isinstance(builder, str) and builder.startswith(FIXED):
        raise UserError(f"{source}: is an ONNX graph, which predicts and cannot be trained on")
    if not isinstance(builder, str) or not cards.BUILDER.fullmatch(builder):
        return None
    if builder.startswith(WRAPPED) or not isinstance(arguments, dict):
        return None
    own = {key: value for key, value in arguments.items() if key != "num_keypoints"}
    return {"_target_": builder.replace(":", "."), **own}
